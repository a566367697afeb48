<?php
// Laravel Reverb as one process, from checkouts of it and of the packages that it is made of; the rest
// of Laravel is Debian's package php-laravel-framework. What `artisan reverb:start` starts, without
// a Laravel application around it.
//
// REVERB_PHP   folder of the checkouts, see docs/performance.md
// PORT         where to listen, for clients and for the HTTP API
// APP          ID:KEY:SECRET

declare(strict_types=1);

// The folder of each namespace; of several, a class is in the first that has it.
$folders = [
    'Evenement\\' => ['evenement/src'],
    'GuzzleHttp\\Psr7\\' => ['psr7/src'],
    'Illuminate\\' => ['framework/src/Illuminate'],
    'Illuminate\\Support\\' => [
        'framework/src/Illuminate/Support',
        'framework/src/Illuminate/Collections',
        'framework/src/Illuminate/Conditionable',
        'framework/src/Illuminate/Macroable',
    ],
    'Laravel\\Reverb\\' => ['reverb/src'],
    'Ratchet\\RFC6455\\' => ['RFC6455/src'],
    'React\\Cache\\' => ['cache/src'],
    'React\\Dns\\' => ['dns/src'],
    'React\\EventLoop\\' => ['event-loop/src'],
    'React\\Promise\\' => ['promise/src'],
    'React\\Promise\\Timer\\' => ['promise-timer/src'],
    'React\\Socket\\' => ['socket/src'],
    'React\\Stream\\' => ['stream/src'],
];
$checkouts = getenv('REVERB_PHP');
$functions = [
    'framework/src/Illuminate/Collections/functions.php',
    'framework/src/Illuminate/Collections/helpers.php',
    'framework/src/Illuminate/Events/functions.php',
    'framework/src/Illuminate/Filesystem/functions.php',
    'framework/src/Illuminate/Foundation/helpers.php',
    'framework/src/Illuminate/Support/functions.php',
    'framework/src/Illuminate/Support/helpers.php',
    'promise/src/functions_include.php',
    'promise-timer/src/functions_include.php',
];
spl_autoload_register(function (string $class) use ($folders, $checkouts): void {
    // The longest prefix that has the class.
    for ($at = strlen($class); ($at = strrpos(substr($class, 0, $at), '\\')) !== false;) {
        foreach ($folders[substr($class, 0, $at + 1)] ?? [] as $folder) {
            $file = "$checkouts/$folder/" . strtr(substr($class, $at + 1), '\\', '/') . '.php';
            if (is_file($file)) {
                require $file;
                return;
            }
        }
    }
});
foreach ($functions as $file) {
    require "$checkouts/$file";
}
// What these need besides, of Symfony and others.
foreach (glob('/usr/share/php/{Carbon,Doctrine/Inflector,Psr/Container,Psr/Http/Message,Psr/Log,Ramsey/Uuid,Symfony/Component/{Console,HttpFoundation,HttpKernel,Routing,Translation}}/{,factory-}autoload.php', GLOB_BRACE) as $file) {
    require $file;
}

[$id, $key, $secret] = explode(':', getenv('APP'), 3);
$app = new Illuminate\Foundation\Application(sys_get_temp_dir());
$app->instance('config', new Illuminate\Config\Repository([
    'reverb' => [
        'default' => 'reverb',
        'servers' => ['reverb' => ['path' => '', 'scaling' => ['enabled' => false]]],
        // The defaults of config/reverb.php.
        'apps' => ['provider' => 'config', 'apps' => [[
            'app_id' => $id,
            'key' => $key,
            'secret' => $secret,
            'allowed_origins' => ['*'],
            'ping_interval' => 60,
            'activity_timeout' => 30,
            'max_message_size' => 10_000,
            'accept_client_events_from' => 'members',
            'rate_limiting' => ['enabled' => false],
            'options' => [],
        ]]],
    ],
]));
Illuminate\Support\Facades\Facade::setFacadeApplication($app);
$app->singleton('validator', function ($app) {
    $messages = new Illuminate\Translation\ArrayLoader();
    return new Illuminate\Validation\Factory(new Illuminate\Translation\Translator($messages, 'en'), $app);
});
$app->instance(Laravel\Reverb\Contracts\Logger::class, new Laravel\Reverb\Loggers\NullLogger());
$app->singleton(Laravel\Reverb\ServerProviderManager::class);
(new Laravel\Reverb\ApplicationManagerServiceProvider($app))->register();

$loop = React\EventLoop\Loop::get();
fwrite(STDERR, 'event loop ' . get_class($loop) . "\n");
$server = Laravel\Reverb\Servers\Reverb\Factory::make('127.0.0.1', getenv('PORT'), loop: $loop);
$jobs = [Laravel\Reverb\Jobs\PruneStaleConnections::class, Laravel\Reverb\Jobs\PingInactiveConnections::class];
$loop->addPeriodicTimer(60, function () use ($app, $jobs): void {
    foreach ($jobs as $job) {
        $app->call([new $job(), 'handle']);
    }
});
$server->start();
