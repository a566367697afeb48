<?php
// Finds the classes of the original: a composer vendor folder, or plain checkouts side by side.

declare(strict_types=1);

$folder = getenv('GATEWAYWORKER_PHP') ?: exit("GATEWAYWORKER_PHP is not set\n");
if (is_file("$folder/autoload.php")) {
    require "$folder/autoload.php";
} else {
    spl_autoload_register(function (string $class) use ($folder): void {
        foreach (['GatewayWorker\\' => 'GatewayWorker/src', 'Workerman\\Coroutine\\' => 'coroutine/src',
            'Workerman\\' => 'workerman/src', 'GatewayClient\\' => 'GatewayClient'] as $prefix => $place) {
            if (str_starts_with($class, $prefix)) {
                $file = "$folder/$place/" . strtr(substr($class, strlen($prefix)), '\\', '/') . '.php';
                if (is_file($file)) {
                    require $file;
                }
                return;
            }
        }
    });
}
