<?php

// Files of npm packages are served as they are.
if (str_starts_with($_SERVER['REQUEST_URI'], '/node_modules/')) {
    return false;
}

$app = require __DIR__ . '/../bootstrap/app.php';
$kernel = $app->make(Illuminate\Contracts\Http\Kernel::class);
$request = Illuminate\Http\Request::capture();
$response = $kernel->handle($request);
$response->send();
$kernel->terminate($request, $response);
