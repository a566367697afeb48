<?php
// The classes of the application, and those of pusher/pusher-php-server: of PUSHER_PHP, a clone of
// pusher/pusher-http-php, else of Laravel's own packages, else the stand-in.

$sdk = getenv('PUSHER_PHP');
if ($sdk) {
    require_once 'GuzzleHttp/autoload.php';
}
spl_autoload_register(function (string $class) use ($sdk) {
    [$space, $rest] = explode('\\', $class, 2) + [1 => ''];
    $folder = ['App' => dirname(__DIR__) . '/app', 'Pusher' => $sdk ? "$sdk/src" : ''][$space] ?? '';
    $file = "$folder/" . strtr($rest, '\\', '/') . '.php';
    if ($folder && is_file($file)) {
        require $file;
    }
}, prepend: true);
if (!class_exists(Pusher\Pusher::class)) {
    require_once getenv('PUSHER_STAND_IN');
}
