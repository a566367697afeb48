<?php
// The page of the chat and its users, with every version of Laravel.

use App\Models\User;
use Illuminate\Http\Request;
use Illuminate\Support\Facades\{Auth, Route};

/** A module of the page, with the variables that Vite gives to it. */
function resource(string $name)
{
    $variables = array_filter($_ENV, fn ($key) => str_starts_with($key, 'VITE_'), ARRAY_FILTER_USE_KEY);
    $begin = 'import.meta.env = ' . json_encode($variables ?: new stdClass()) . ";\n";
    $script = $begin . file_get_contents(resource_path("js/$name"));
    return response($script)->header('Content-Type', 'text/javascript');
}

/** The user whose name is in the session. */
function users_are_in_sessions()
{
    Auth::viaRequest('session-name', function (Request $request) {
        $name = $request->session()->get('name');
        return $name ? new User(['id' => crc32($name), 'name' => $name]) : null;
    });
}

function routes_of_the_page()
{
    Route::middleware('web')->group(function () {
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
}
