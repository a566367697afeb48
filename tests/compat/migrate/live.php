<?php
// Clients that are there all the while, and say and hear numbered messages.

declare(strict_types=1);

// One client. It comes back when it is closed.
final class Live
{
    private ?Client $client = null;
    private string $buffer = '';
    private float $again = 0;
    public bool $gone = false;
    // Which gateway it is on: the inner port that its id names.
    public ?int $inner = null;
    public int $said = 0;
    public int $answered = 0;
    public ?int $heard = null;
    public int $pushes = 0;

    public function __construct(public readonly string $name, private readonly string $address, private readonly Crowd $crowd)
    {
        $this->connect();
    }

    private function connect(): void
    {
        try {
            $this->client = (new Client($this->address))->shake();
        } catch (RuntimeException) {
            $this->again = microtime(true) + 0.1;
            return;
        }
        [$this->buffer, $this->inner, $this->said, $this->answered, $this->heard] = ['', null, 0, 0, null];
        stream_set_blocking($this->client->stream, false);
        foreach (['who', 'join room'] as $what) {
            $this->client->send($what);
        }
    }

    public function isOpen(): bool
    {
        return $this->client !== null;
    }

    // Whether everything that it said was answered, and it has heard the last push.
    public function isEven(): bool
    {
        return $this->gone || ($this->isOpen() && $this->said === $this->answered && $this->heard === $this->crowd->pushed);
    }

    public function say(): void
    {
        if ($this->client === null || $this->inner === null) {
            return;
        }
        try {
            // Every tenth is a question that the worker has to ask all gateways.
            $this->client->send(($this->said % 10 === 9 ? 'count ' : 'n ') . $this->said);
            $this->said++;
        } catch (RuntimeException) {
            $this->closed('write');
        }
    }

    public function leave(): void
    {
        $this->gone = true;
        $this->client->send(pack('n', 1000), 8);
    }

    // Takes what has come.
    public function pump(): void
    {
        if ($this->client === null) {
            if (!$this->gone && $this->again < microtime(true)) {
                $this->connect();
            }
            return;
        }
        $bytes = @fread($this->client->stream, 1 << 20);
        if ($bytes === '' || $bytes === false) {
            if ($bytes === false || feof($this->client->stream)) {
                $this->closed('end');
            }
            return;
        }
        $this->buffer .= $bytes;
        // What the messages here are is shorter than 126 bytes.
        while (strlen($this->buffer) >= 2 && strlen($this->buffer) >= 2 + ($length = ord($this->buffer[1]))) {
            $first = ord($this->buffer[0]);
            $payload = substr($this->buffer, 2, $length);
            $this->buffer = substr($this->buffer, 2 + $length);
            if ($first === 0x88) {
                $this->closed((string) unpack('n', $payload)[1] . ' ' . substr($payload, 2));
                return;
            }
            $this->take($payload);
        }
    }

    private function take(string $message): void
    {
        $words = explode(' ', $message);
        if ($words[0] === 'php') {
            $this->inner = hexdec(substr($words[2], 8, 4));
        } elseif ($words[0] === 'n') {
            $this->crowd->answers++;
            if ($this->crowd->lossy && (int) $words[1] > $this->answered) {
                $this->crowd->missing += (int) $words[1] - $this->answered;
            } elseif ((int) $words[1] !== $this->answered) {
                $this->crowd->faults[] = "$this->name heard answer $words[1] in place of $this->answered";
            }
            $this->answered = (int) $words[1] + 1;
        } elseif ($words[0] === 'push') {
            $this->pushes++;
            $this->crowd->heard++;
            for ($n = $this->heard === null ? (int) $words[1] : $this->heard + 1; $n < (int) $words[1]; $n++) {
                if ($this->crowd->lossy) {
                    $this->crowd->unheard++;
                } elseif (!isset($this->crowd->failed[$n])) {
                    $this->crowd->faults[] = "$this->name missed push $n";
                }
            }
            if ($this->heard !== null && (int) $words[1] <= $this->heard) {
                $this->crowd->faults[] = "$this->name heard push $words[1] after $this->heard";
            }
            $this->heard = (int) $words[1];
        }
    }

    private function closed(string $how): void
    {
        fclose($this->client->stream);
        $this->client = null;
        $this->again = microtime(true) + 0.1;
        if (!$this->gone) {
            $this->crowd->closed[] = ['name' => $this->name, 'inner' => $this->inner, 'how' => trim($how), 'unanswered' => $this->said - $this->answered];
        }
    }
}

// All of them, and somebody outside who pushes to the group that they are in.
final class Crowd
{
    public array $clients = [];
    public array $closed = [];
    public array $faults = [];
    public array $failed = [];
    public int $answers = 0;
    public int $heard = 0;
    // Whether answers and pushes may be missing in what is done now, and how many were.
    public bool $lossy = false;
    public int $missing = 0;
    public int $unheard = 0;
    public int $pushed = -1;
    private float $next = 0;
    private float $silent = 0;

    public function __construct(private readonly string $address, private readonly Outside $outside)
    {
    }

    public function add(int $count): void
    {
        for ($n = 0; $n < $count; $n++) {
            $name = 'client ' . (count($this->clients) + 1);
            $this->clients[$name] = new Live($name, $this->address, $this);
        }
    }

    // Lives on for so long, or until something is so. Answers whether it came to be.
    public function live(float $seconds, ?callable $until = null): bool
    {
        for ($end = microtime(true) + $seconds; microtime(true) < $end; usleep(5000)) {
            if (microtime(true) >= $this->next) {
                $this->next = microtime(true) + 0.025;
                foreach ($this->clients as $client) {
                    $client->say();
                }
                $this->push();
            }
            $this->pump();
            if ($until !== null && $until()) {
                return true;
            }
        }
        return false;
    }

    private function pump(): void
    {
        foreach ($this->clients as $client) {
            $client->pump();
        }
    }

    // A call that fails may have reached some gateways; its number is used up.
    private function push(): void
    {
        if (microtime(true) < $this->silent) {
            return;
        }
        $n = $this->pushed + 1;
        try {
            $this->outside->sendToGroup('room', "push $n");
        } catch (Throwable $error) {
            $this->failed[$n] = $error->getMessage();
            $this->silent = microtime(true) + 0.1;
        }
        $this->pushed = $n;
    }

    // Falls silent until everything has been answered and heard.
    public function settle(): bool
    {
        // The last push must be one that did not fail.
        $this->silent = 0;
        for ($tries = 0; $tries < 100 && isset($this->failed[$this->pushed]); $tries++) {
            usleep(100000);
            $this->pump();
            $this->push();
        }
        return eventually(function (): bool {
            $this->pump();
            foreach ($this->clients as $client) {
                if (!$client->isEven()) {
                    return false;
                }
            }
            return true;
        }, 10);
    }

    // Those who are not even, for a report.
    public function uneven(): array
    {
        $uneven = array_filter($this->clients, fn (Live $client) => !$client->isEven());
        return array_map(fn (Live $client) => "said $client->said, answered $client->answered, heard $client->heard of $this->pushed", $uneven);
    }

    public function on(int $inner): array
    {
        return array_filter($this->clients, fn (Live $client) => $client->isOpen() && $client->inner === $inner);
    }
}
