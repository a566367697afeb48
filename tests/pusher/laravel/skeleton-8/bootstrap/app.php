<?php
// The parts of an installed Laravel 8 that docs/laravel.md does not give: the framework, as Debian
// packages it, and sessions.

require_once 'Illuminate/autoload.php';
require_once __DIR__ . '/classes.php';
require_once __DIR__ . '/page.php';

use Illuminate\Contracts;
use Illuminate\Foundation;
use Illuminate\Support\Facades\{Broadcast, Route};

class HttpKernel extends Foundation\Http\Kernel
{
    protected $middlewareGroups = ['web' => [
        Illuminate\Cookie\Middleware\EncryptCookies::class,
        Illuminate\Cookie\Middleware\AddQueuedCookiesToResponse::class,
        Illuminate\Session\Middleware\StartSession::class,
        Foundation\Http\Middleware\VerifyCsrfToken::class,
        Illuminate\Routing\Middleware\SubstituteBindings::class,
    ]];
}

$app = new Foundation\Application(dirname(__DIR__));
$app->singleton(Contracts\Http\Kernel::class, HttpKernel::class);
$app->singleton(Contracts\Console\Kernel::class, Foundation\Console\Kernel::class);
$app->singleton(Contracts\Debug\ExceptionHandler::class, Foundation\Exceptions\Handler::class);

$app->afterBootstrapping(Foundation\Bootstrap\LoadConfiguration::class, function ($app) {
    $folder = $app->storagePath();
    config([
        'auth' => ['defaults' => ['guard' => 'session-name'], 'guards' => [
            'session-name' => ['driver' => 'session-name'],
        ]],
        'cache' => ['default' => 'file', 'prefix' => 'chat', 'stores' => [
            'file' => ['driver' => 'file', 'path' => "$folder/cache"],
        ]],
        'database' => ['default' => 'sqlite', 'connections' => [
            'sqlite' => ['driver' => 'sqlite', 'database' => "$folder/jobs.sqlite", 'prefix' => ''],
        ]],
        'logging' => ['default' => 'single', 'channels' => [
            'single' => ['driver' => 'single', 'path' => "$folder/laravel.log"],
        ]],
        'queue' => ['default' => env('QUEUE_CONNECTION', 'sync'), 'connections' => [
            'sync' => ['driver' => 'sync'],
            'database' => ['driver' => 'database', 'table' => 'jobs', 'queue' => 'default', 'retry_after' => 90],
        ]],
        'session' => ['driver' => 'file', 'files' => "$folder/sessions", 'lifetime' => 120, 'lottery' => [0, 1],
            'cookie' => 'chat', 'path' => '/', 'domain' => null, 'secure' => false,
            'same_site' => 'lax', 'expire_on_close' => false, 'encrypt' => false],
        'view' => ['paths' => [], 'compiled' => "$folder/views"],
        // Laravel has had this connection since version 11. Its driver is that of `pusher`.
        'broadcasting.connections.reverb' => [
            'driver' => 'pusher',
            'key' => env('REVERB_APP_KEY'),
            'secret' => env('REVERB_APP_SECRET'),
            'app_id' => env('REVERB_APP_ID'),
            'options' => [
                'host' => env('REVERB_HOST'),
                'port' => env('REVERB_PORT', 443),
                'scheme' => env('REVERB_SCHEME', 'https'),
                'useTLS' => env('REVERB_SCHEME', 'https') === 'https',
            ],
        ],
    ]);
});

$app->booted(function ($app) {
    users_are_in_sessions();
    Broadcast::routes();
    require base_path('routes/channels.php');
    Route::middleware('web')->group(fn () => require base_path('routes/web.php'));
    routes_of_the_page();
});

return $app;
