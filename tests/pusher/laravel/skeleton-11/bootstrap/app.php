<?php
// As Laravel 11's own, with users in sessions and a page. LARAVEL names a folder as composer makes it
// (`vendor`), with the framework.

require_once getenv('LARAVEL') . '/autoload.php';
require_once __DIR__ . '/classes.php';
require_once __DIR__ . '/page.php';

use Illuminate\Foundation\Application;
use Illuminate\Foundation\Bootstrap\LoadConfiguration;
use Illuminate\Foundation\Configuration\Exceptions;
use Illuminate\Foundation\Configuration\Middleware;

$app = Application::configure(basePath: dirname(__DIR__))
    ->withRouting(
        web: __DIR__ . '/../routes/web.php',
        channels: __DIR__ . '/../routes/channels.php',
        then: fn () => routes_of_the_page(),
    )
    ->withMiddleware(fn (Middleware $middleware) => null)
    ->withExceptions(fn (Exceptions $exceptions) => null)
    ->create();

$app->afterBootstrapping(LoadConfiguration::class, fn () => config([
    'auth.defaults.guard' => 'session-name',
    'auth.guards.session-name' => ['driver' => 'session-name'],
]));
$app->booted(fn () => users_are_in_sessions());

return $app;
