<?php
// Shared by the PHP scripts: frames of the inner port, lines of the register, a WebSocket client,
// and counted checks.

declare(strict_types=1);

const ON_CONNECT = 1, ON_MESSAGE = 3, ON_CLOSE = 4, SEND_TO_ONE = 5, SEND_TO_ALL = 6, KICK = 7, DESTROY = 8,
    UPDATE_SESSION = 9, ALL_SESSIONS = 10, IS_ONLINE = 11, BIND_UID = 12, UNBIND_UID = 13, SEND_TO_UID = 14,
    BY_UID = 15, BATCH_BY_UID = 16, JOIN = 20, LEAVE = 21, SEND_TO_GROUP = 22, SESSIONS_BY_GROUP = 23,
    COUNT_BY_GROUP = 24, SELECT = 25, GROUP_LIST = 26, UNGROUP = 27, BATCH_COUNT = 28, WORKER_HELLO = 200,
    PING = 201, CLIENT_HELLO = 202, GET_SESSION = 203, SET_SESSION = 204, ON_WEBSOCKET_CONNECT = 205;

$checks = 0;
$failures = 0;

function check(string $what, mixed $expected, mixed $found): void
{
    global $checks, $failures;
    $checks++;
    if ($expected === $found) {
        return;
    }
    $failures++;
    echo "FAILED: $what\n  expected ", shown($expected), "\n  found    ", shown($found), "\n";
}

function shown(mixed $value): string
{
    $text = json_encode(readable($value), JSON_UNESCAPED_SLASHES | JSON_UNESCAPED_UNICODE | JSON_PRESERVE_ZERO_FRACTION);
    return strlen($text) > 600 ? substr($text, 0, 600) . '…' : $text;
}

// Shows non-text bytes as escapes, and long values as length and hash.
function readable(mixed $value): mixed
{
    if (is_array($value)) {
        $all = [];
        foreach ($value as $key => $item) {
            $all[is_int($key) ? $key : readable($key)] = readable($item);
        }
        return $all;
    }
    if (is_string($value) && strlen($value) > 1000) {
        return strlen($value) . ' bytes ' . md5($value);
    }
    return is_string($value) && !preg_match('//u', $value) ? addcslashes($value, "\0..\37\177..\377") : $value;
}

function finish(string $what): never
{
    global $checks, $failures;
    echo "$what: $checks checks, $failures failed\n";
    exit($failures === 0 ? 0 : 1);
}

function dial(string $address, int $seconds = 5)
{
    // Otherwise the second of two writes may wait for a delayed TCP ack of the first, and leave
    // after later writes to another connection.
    $context = stream_context_create(['socket' => ['tcp_nodelay' => true]]);
    $stream = @stream_socket_client("tcp://$address", $code, $message, $seconds, STREAM_CLIENT_CONNECT, $context);
    if (!$stream) {
        throw new RuntimeException("connecting to $address: $message");
    }
    stream_set_timeout($stream, $seconds);
    return $stream;
}

function write_all($stream, string $bytes): void
{
    while ($bytes !== '') {
        $written = @fwrite($stream, $bytes);
        if (!$written) {
            throw new RuntimeException('the other end is closed');
        }
        $bytes = substr($bytes, $written);
    }
}

// Exactly this many bytes; null at the end of the stream or after the timeout.
function read_exactly($stream, int $length): ?string
{
    $bytes = '';
    while (strlen($bytes) < $length) {
        $more = fread($stream, $length - strlen($bytes));
        if ($more === false || $more === '') {
            return null;
        }
        $bytes .= $more;
    }
    return $bytes;
}

// Whether the stream ends without another byte.
function closes($stream): bool
{
    $more = @fread($stream, 1);
    return ($more === '' || $more === false) && !stream_get_meta_data($stream)['timed_out'];
}

function frame(int $command, int $connection = 0, string $ext = '', string $body = '', int $flag = 1): string
{
    $length = 28 + strlen($ext) + strlen($body);
    return pack('NCNnNnNCnN', $length, $command, 0, 0, 0, 0, $connection, $flag, 0, strlen($ext)) . $ext . $body;
}

function hello(string $secret): string
{
    return frame(CLIENT_HELLO, body: json_encode(['secret_key' => $secret]));
}

function worker_hello(string $key, string $secret): string
{
    return frame(WORKER_HELLO, body: json_encode(['worker_key' => $key, 'secret_key' => $secret]));
}

// A reply: four bytes of length, then a serialized value.
function reply($stream): ?string
{
    $length = read_exactly($stream, 4);
    return $length === null ? null : read_exactly($stream, unpack('N', $length)[1]);
}

function ask($stream, int $command, int $connection = 0, string $ext = ''): ?string
{
    write_all($stream, frame($command, $connection, $ext));
    return reply($stream);
}

// The next event of a worker link, as its header fields.
function event($stream): ?array
{
    do {
        $head = read_exactly($stream, 28);
        if ($head === null) {
            return null;
        }
        $event = unpack('Nlength/Ccommand/Nip/nport/Nclient_ip/nclient_port/Nconnection/Cflag/ngateway_port/Next', $head);
        $rest = $event['length'] > 28 ? read_exactly($stream, $event['length'] - 28) : '';
        $event['body'] = substr($rest, $event['ext']);
        $event['ext'] = substr($rest, 0, $event['ext']);
    } while ($event['command'] === PING);
    return $event;
}

// The gateways that a register lists, once there are as many as expected.
function gateways(string $register, string $secret, int $count = 1): array
{
    for ($tries = 0; $tries < 200; $tries++) {
        try {
            $stream = dial($register);
            write_all($stream, json_encode(['event' => 'worker_connect', 'secret_key' => $secret]) . "\n");
            $answer = json_decode((string) fgets($stream), true);
            fclose($stream);
            if (count($answer['addresses'] ?? []) >= $count) {
                return array_values($answer['addresses']);
            }
        } catch (RuntimeException) {
            // Not listening yet.
        }
        usleep(50000);
    }
    throw new RuntimeException("the register never named $count gateways");
}

// A WebSocket client of a gateway.
final class Client
{
    public $stream;
    public bool $open = true;

    public function __construct(public readonly string $address)
    {
        $this->stream = dial($address);
    }

    public function port(): int
    {
        return (int) substr(strrchr(stream_socket_get_name($this->stream, false), ':'), 1);
    }

    public function shake(string $path = '/', array $headers = []): self
    {
        $lines = ["GET $path HTTP/1.1", "Host: example.test:80", 'Upgrade: websocket', 'Connection: Upgrade',
            'Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==', 'Sec-WebSocket-Version: 13', ...$headers];
        write_all($this->stream, implode("\r\n", $lines) . "\r\n\r\n");
        $answer = '';
        while (!str_ends_with($answer, "\r\n\r\n")) {
            $line = fgets($this->stream);
            if ($line === false) {
                throw new RuntimeException("no handshake: $answer");
            }
            $answer .= $line;
        }
        if (!str_starts_with($answer, 'HTTP/1.1 101')) {
            throw new RuntimeException("no handshake: $answer");
        }
        return $this;
    }

    public function send(string $bytes, int $opcode = 1): void
    {
        $length = strlen($bytes);
        $head = match (true) {
            $length < 126 => pack('CC', 0x80 | $opcode, 0x80 | $length),
            $length < 65536 => pack('CCn', 0x80 | $opcode, 0xFE, $length),
            default => pack('CCJ', 0x80 | $opcode, 0xFF, $length),
        };
        // A zero mask leaves the payload unchanged.
        write_all($this->stream, $head . "\0\0\0\0" . $bytes);
    }

    // The next frame as [first byte, payload]; null at the end of the stream.
    public function frame(): ?array
    {
        $head = read_exactly($this->stream, 2);
        if ($head === null) {
            $this->open = false;
            return null;
        }
        [, $first, $length] = unpack('C2', $head);
        if ($length === 126) {
            $length = unpack('n', read_exactly($this->stream, 2) ?? '')[1];
        } elseif ($length === 127) {
            $length = unpack('J', read_exactly($this->stream, 8) ?? '')[1];
        }
        return [$first, $length === 0 ? '' : read_exactly($this->stream, $length)];
    }

    public function next(): ?string
    {
        return $this->frame()[1] ?? null;
    }

    // Everything received before the answer to a ping, or before the end.
    public function drain(): array
    {
        $all = [];
        if (!$this->open) {
            return $all;
        }
        try {
            $this->send('drain', 9);
        } catch (RuntimeException) {
            // Closed; earlier data can still be read.
        }
        while (($frame = $this->frame()) !== null && $frame !== [0x8A, 'drain']) {
            $all[] = $frame[0] === 0x81 ? $frame[1] : $frame;
        }
        if ($frame === null) {
            $all[] = 'closed';
        }
        return $all;
    }
}
