<?php
// Runs one process of the original: register, gateway or worker.
//
//   ROLE=… SECRET=… REGISTER=ADDRESS … php run.php start

declare(strict_types=1);
require __DIR__ . '/load.php';

use GatewayWorker\BusinessWorker;
use GatewayWorker\Gateway;
use GatewayWorker\Register;
use Workerman\Worker;

$setting = fn (string $name, string $default = ''): string => getenv($name) === false ? $default : getenv($name);
$name = $setting('NAME');
Worker::$pidFile = $setting('FOLDER') . "/$name.pid";
Worker::$logFile = $setting('FOLDER') . "/$name.workerman.log";
Worker::$statusFile = $setting('FOLDER') . "/$name.status";
switch ($setting('ROLE')) {
    case 'register':
        $worker = new Register('text://' . $setting('REGISTER'));
        break;
    case 'gateway':
        $worker = new Gateway('websocket://127.0.0.1:' . $setting('CLIENT_PORT'));
        $worker->startPort = (int) $setting('INNER_PORT');
        $worker->registerAddress = $setting('REGISTER');
        break;
    case 'worker':
        require $setting('EVENTS_FILE', __DIR__ . '/events.php');
        $worker = new BusinessWorker();
        $worker->registerAddress = $setting('REGISTER');
        GatewayWorker\Lib\Gateway::$persistentConnection = $setting('PERSISTENT', '1') === '1';
        break;
}
$worker->name = $name;
$worker->count = 1;
$worker->secretKey = $setting('SECRET');
Worker::runAll();
