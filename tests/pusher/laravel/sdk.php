<?php
// The libraries that composer would load for the tests of pusher/pusher-http-php, from Debian's packages.

require_once 'GuzzleHttp/autoload.php';
require_once 'Psr/Log/autoload.php';
spl_autoload_register(function (string $class) {
    $file = getenv('PUSHER_PHP') . '/src/' . strtr(substr($class, strlen('Pusher\\')), '\\', '/') . '.php';
    if (str_starts_with($class, 'Pusher\\') && is_file($file)) {
        require $file;
    }
});
require getenv('PUSHER_PHP') . '/tests/bootstrap.php';
// Debian's Guzzle is older than its PHP.
error_reporting(E_ALL & ~E_DEPRECATED);
