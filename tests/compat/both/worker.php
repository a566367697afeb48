<?php
// A worker with the inner protocol of PHP workers, on plain sockets.
//
//   NAME=… REGISTER=… SECRET=… php worker.php
//
// It links to every gateway that the register lists, and calls Events like BusinessWorker: with the
// received $_SESSION, whose changes it sends back.

declare(strict_types=1);

namespace GatewayWorker\Lib;

require __DIR__ . '/../lib.php';
require __DIR__ . '/events.php';

// The functions of this class that Events calls. Commands are sent on the links.
final class Gateway
{
    public static array $links = [];

    public static function sendToClient(string $client, string $message): void
    {
        self::tell($client, \SEND_TO_ONE, body: $message);
    }

    public static function joinGroup(string $client, string $group): void
    {
        self::tell($client, \JOIN, $group);
    }

    public static function bindUid(string $client, string $uid): void
    {
        self::tell($client, \BIND_UID, $uid);
    }

    public static function sendToAll(string $message): void
    {
        self::tellAll(\SEND_TO_ALL, '', $message);
    }

    public static function sendToGroup(string $group, string $message): void
    {
        self::tellAll(\SEND_TO_GROUP, json_encode(['group' => [$group], 'exclude' => null]), $message);
    }

    public static function sendToUid(string $uid, string $message): void
    {
        self::tellAll(\SEND_TO_UID, json_encode([$uid]), $message);
    }

    public static function tell(string $client, int $command, string $ext = '', string $body = ''): void
    {
        ['ip' => $ip, 'port' => $port, 'connection' => $connection] = unpack('Nip/nport/Nconnection', hex2bin($client));
        \write_all(self::$links[long2ip($ip) . ":$port"], \frame($command, $connection, $ext, $body));
    }

    private static function tellAll(int $command, string $ext, string $body): void
    {
        foreach (self::$links as $link) {
            \write_all($link, \frame($command, 0, $ext, $body));
        }
    }
}

// Handles one event.
function handle($link): bool
{
    $event = \event($link);
    if ($event === null) {
        return false;
    }
    $client = bin2hex(pack('NnN', $event['ip'], $event['port'], $event['connection']));
    $_SESSION = $before = $event['ext'] === '' ? null : unserialize($event['ext']);
    if ($event['command'] === \ON_MESSAGE) {
        \Events::onMessage($client, $event['body']);
        if ($_SESSION !== $before) {
            Gateway::tell($client, \SET_SESSION, $_SESSION === null ? '' : serialize($_SESSION));
        }
    }
    return true;
}

$secret = (string) getenv('SECRET');
$register = \dial((string) getenv('REGISTER'));
\write_all($register, json_encode(['event' => 'worker_connect', 'secret_key' => $secret]) . "\n");
while (true) {
    $read = [$register, ...array_values(Gateway::$links)];
    $none = null;
    stream_select($read, $none, $none, 5);
    foreach ($read as $stream) {
        $address = array_search($stream, Gateway::$links, true);
        if ($address !== false) {
            if (!handle($stream)) {
                unset(Gateway::$links[$address]);
            }
            continue;
        }
        $line = fgets($stream) ?: exit(0);
        foreach (json_decode($line, true)['addresses'] as $address) {
            if (!isset(Gateway::$links[$address])) {
                Gateway::$links[$address] = \dial($address);
                // One event per read: select does not see data that PHP has buffered.
                stream_set_read_buffer(Gateway::$links[$address], 0);
                \write_all(Gateway::$links[$address], \worker_hello(getenv('NAME') . ':0', $secret));
            }
        }
    }
}
