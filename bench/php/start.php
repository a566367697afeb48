<?php
// GatewayWorker with the answers of business-worker --app bench: all of it, or the worker alone.
//
//   ROLES='register gateway worker' REGISTER=ADDRESS CLIENT_PORT=… INNER_PORT=… FOLDER=… \
//       GATEWAYWORKER_PHP=… php start.php start
//
// PING_INTERVAL=SECONDS has clients pinged, and closed if they leave one ping unanswered.

declare(strict_types=1);

require __DIR__ . '/../../tests/compat/original/load.php';

use GatewayWorker\BusinessWorker;
use GatewayWorker\Gateway;
use GatewayWorker\Lib\Gateway as Clients;
use GatewayWorker\Register;
use Workerman\Worker;

final class Events
{
    public static function onMessage(string $client, string $message): void
    {
        // Whom it is for: what stands behind its last @.
        $name = fn (): string => substr($message, (int) strrpos($message, '@') + 1);
        switch ($message[0] ?? '') {
            case 'e':
                break;
            case 'j':
                Clients::joinGroup($client, substr($message, 1));
                break;
            case '+':
                Clients::joinGroup($client, $name());
                break;
            case '-':
                Clients::leaveGroup($client, $name());
                break;
            case 'u':
                Clients::bindUid($client, substr($message, 1));
                break;
            case 'a':
                Clients::sendToAll($message);
                return;
            case 'g':
                Clients::sendToGroup('room', $message);
                return;
            case 't':
                Clients::sendToUid($name(), $message);
                return;
            default:
                return;
        }
        Clients::sendToClient($client, $message);
    }
}

foreach (explode(' ', (string) getenv('ROLES')) as $role) {
    switch ($role) {
        case 'register':
            new Register('text://' . getenv('REGISTER'));
            break;
        case 'gateway':
            $gateway = new Gateway('websocket://127.0.0.1:' . getenv('CLIENT_PORT'));
            $gateway->name = 'Gateway';
            $gateway->lanIp = '127.0.0.1';
            $gateway->startPort = (int) getenv('INNER_PORT');
            $gateway->registerAddress = getenv('REGISTER');
            if (getenv('PING_INTERVAL')) {
                $gateway->pingInterval = (int) getenv('PING_INTERVAL');
                $gateway->pingNotResponseLimit = 1;
                $gateway->pingData = '{"type":"ping"}';
            }
            break;
        case 'worker':
            $worker = new BusinessWorker();
            $worker->name = 'BusinessWorker';
            $worker->registerAddress = getenv('REGISTER');
            break;
    }
}
Worker::$pidFile = getenv('FOLDER') . '/pid';
Worker::$logFile = getenv('FOLDER') . '/log';
Worker::$statusFile = getenv('FOLDER') . '/status';
Worker::runAll();
