<?php
// The app of the scenario: records every event, and makes the calls that clients request.

declare(strict_types=1);

use GatewayWorker\Lib\Gateway;

final class Events
{
    private static function note(string $event, string $client, mixed $what = null): void
    {
        $line = base64_encode(serialize(['event' => $event, 'client' => $client, 'server' => $_SERVER,
            'session' => $_SESSION, 'what' => $what]));
        file_put_contents(getenv('EVENTS'), "$line\n", FILE_APPEND);
    }

    public static function onConnect($client): void
    {
        self::note('connect', $client);
        Gateway::sendToClient($client, 'id ' . $client . ' ' . (getenv('NAME') ?: ''));
    }

    public static function onWebSocketConnect($client, $data): void
    {
        self::note('websocket', $client, $data);
        $_SESSION['from'] = $data['get'];
    }

    public static function onMessage($client, $message): void
    {
        if (!str_starts_with($message, 'do ')) {
            self::note('message', $client, $message);
            return;
        }
        [$what, $arguments] = unserialize(substr($message, 3));
        if ($what === 'session') {
            $_SESSION = $arguments;
            Gateway::sendToClient($client, 'done N;');
            return;
        }
        try {
            ob_start();
            $result = call_user_func_array([Gateway::class, $what], $arguments);
        } catch (Throwable $error) {
            $result = 'throws ' . $error->getMessage();
        } finally {
            ob_end_clean();
        }
        Gateway::sendToClient($client, 'done ' . base64_encode(serialize($result)));
    }

    public static function onClose($client): void
    {
        self::note('close', $client);
    }
}
