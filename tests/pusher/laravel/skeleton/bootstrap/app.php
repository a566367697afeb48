<?php
// The parts of an installed Laravel that docs/laravel.md does not give: the framework, as Debian
// packages it, sessions, users, and a page.

// PUSHER_PHP names a folder with the `src` of pusher/pusher-http-php. The stand-in is used without.
$sdk = getenv('PUSHER_PHP');
require_once 'Illuminate/autoload.php';
if ($sdk) {
    require_once 'GuzzleHttp/autoload.php';
} else {
    require_once getenv('PUSHER_STAND_IN');
}
spl_autoload_register(function (string $class) use ($sdk) {
    [$space, $rest] = explode('\\', $class, 2) + [1 => ''];
    $folder = ['App' => dirname(__DIR__) . '/app', 'Pusher' => "$sdk/src"][$space] ?? null;
    $file = "$folder/" . strtr($rest, '\\', '/') . '.php';
    if ($folder && is_file($file)) {
        require $file;
    }
});

use App\Models\User;
use Illuminate\Contracts;
use Illuminate\Foundation;
use Illuminate\Http\Request;
use Illuminate\Support\Facades\{Auth, Broadcast, DB, Route, Schema};

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

/** A module of the page, with the variables that Vite gives to it. */
function resource(string $name)
{
    $variables = array_filter($_ENV, fn ($key) => str_starts_with($key, 'VITE_'), ARRAY_FILTER_USE_KEY);
    $begin = 'import.meta.env = ' . json_encode($variables ?: new stdClass()) . ";\n";
    $script = $begin . file_get_contents(resource_path("js/$name"));
    return response($script)->header('Content-Type', 'text/javascript');
}

$app->booted(function ($app) {
    Auth::viaRequest('session-name', function (Request $request) {
        $name = $request->session()->get('name');
        return $name ? new User(['id' => crc32($name), 'name' => $name]) : null;
    });
    Broadcast::routes();
    require base_path('routes/channels.php');
    Route::middleware('web')->group(function () {
        require base_path('routes/web.php');
        Route::get('/login/{name}', function (Request $request, string $name) {
            $request->session()->put('name', $name);
            return redirect('/');
        });
        Route::get('/', function () {
            $page = file_get_contents(public_path('chat.html'));
            return str_replace('CSRF_TOKEN', csrf_token(), $page);
        });
    });
    Route::get('/js/{name}', fn (string $name) => resource($name));
});

return $app;
