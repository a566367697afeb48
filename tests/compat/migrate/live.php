<?php
// Permanently connected clients that send and receive numbered messages.

declare(strict_types=1);

// One client. It reconnects when closed.
final class Live
{
    private ?Client $client = null;
    private string $buffer = '';
    private float $again = 0;
    public bool $hasLeft = false;
    // Its gateway, as the inner port in its id.
    public ?int $inner = null;
    public int $sent = 0;
    public int $answered = 0;
    public ?int $received = null;
    public int $pushes = 0;

    public function __construct(public readonly string $name, private readonly string $address, private readonly ClientPool $pool)
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
        [$this->buffer, $this->inner, $this->sent, $this->answered, $this->received] = ['', null, 0, 0, null];
        stream_set_blocking($this->client->stream, false);
        foreach (['who', 'join room'] as $what) {
            $this->client->send($what);
        }
    }

    public function isOpen(): bool
    {
        return $this->client !== null;
    }

    // Whether everything it sent was answered, and it has received the last push.
    public function isSettled(): bool
    {
        return $this->hasLeft || ($this->isOpen() && $this->sent === $this->answered && $this->received === $this->pool->pushed);
    }

    public function sendNext(): void
    {
        if ($this->client === null || $this->inner === null) {
            return;
        }
        try {
            // Every tenth makes the worker query all gateways.
            $this->client->send(($this->sent % 10 === 9 ? 'count ' : 'n ') . $this->sent);
            $this->sent++;
        } catch (RuntimeException) {
            $this->closed('write');
        }
    }

    public function leave(): void
    {
        $this->hasLeft = true;
        $this->client->send(pack('n', 1000), 8);
    }

    // Handles received messages.
    public function pump(): void
    {
        if ($this->client === null) {
            if (!$this->hasLeft && $this->again < microtime(true)) {
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
        // The messages here are shorter than 126 bytes.
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
            $this->pool->answers++;
            if ($this->pool->lossy && (int) $words[1] > $this->answered) {
                $this->pool->missing += (int) $words[1] - $this->answered;
            } elseif ((int) $words[1] !== $this->answered) {
                $this->pool->faults[] = "$this->name received answer $words[1] instead of $this->answered";
            }
            $this->answered = (int) $words[1] + 1;
        } elseif ($words[0] === 'push') {
            $this->pushes++;
            $this->pool->received++;
            for ($n = $this->received === null ? (int) $words[1] : $this->received + 1; $n < (int) $words[1]; $n++) {
                if ($this->pool->lossy) {
                    $this->pool->missedPushes++;
                } elseif (!isset($this->pool->failed[$n])) {
                    $this->pool->faults[] = "$this->name missed push $n";
                }
            }
            if ($this->received !== null && (int) $words[1] <= $this->received) {
                $this->pool->faults[] = "$this->name received push $words[1] after $this->received";
            }
            $this->received = (int) $words[1];
        }
    }

    private function closed(string $how): void
    {
        fclose($this->client->stream);
        $this->client = null;
        $this->again = microtime(true) + 0.1;
        if (!$this->hasLeft) {
            $this->pool->closed[] = ['name' => $this->name, 'inner' => $this->inner, 'how' => trim($how), 'unanswered' => $this->sent - $this->answered];
        }
    }
}

// All clients, and a back end that pushes to their group.
final class ClientPool
{
    public array $clients = [];
    public array $closed = [];
    public array $faults = [];
    public array $failed = [];
    public int $answers = 0;
    public int $received = 0;
    // Whether answers and pushes may be missing in the current step, and how many were.
    public bool $lossy = false;
    public int $missing = 0;
    public int $missedPushes = 0;
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

    // Runs for this time, or until a condition is true. Returns whether it became true.
    public function run(float $seconds, ?callable $until = null): bool
    {
        for ($end = microtime(true) + $seconds; microtime(true) < $end; usleep(5000)) {
            if (microtime(true) >= $this->next) {
                $this->next = microtime(true) + 0.025;
                foreach ($this->clients as $client) {
                    $client->sendNext();
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

    // A failed call may have reached some gateways, so its number is not reused.
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

    // Stops sending until everything is answered and received.
    public function settle(): bool
    {
        // The last push must be a successful one.
        $this->silent = 0;
        for ($tries = 0; $tries < 100 && isset($this->failed[$this->pushed]); $tries++) {
            usleep(100000);
            $this->pump();
            $this->push();
        }
        return eventually(function (): bool {
            $this->pump();
            foreach ($this->clients as $client) {
                if (!$client->isSettled()) {
                    return false;
                }
            }
            return true;
        }, 10);
    }

    // Clients with missing messages, for a report.
    public function unsettled(): array
    {
        $unsettled = array_filter($this->clients, fn (Live $client) => !$client->isSettled());
        return array_map(fn (Live $client) => "sent $client->sent, answered $client->answered, received $client->received of $this->pushed", $unsettled);
    }

    public function on(int $inner): array
    {
        return array_filter($this->clients, fn (Live $client) => $client->isOpen() && $client->inner === $inner);
    }
}
