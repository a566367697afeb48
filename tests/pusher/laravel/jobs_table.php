<?php
// Makes the table that `php artisan queue:table` and `migrate` make.
$database = new PDO("sqlite:$argv[1]");
$database->exec('CREATE TABLE jobs (id INTEGER PRIMARY KEY AUTOINCREMENT, queue TEXT, payload TEXT,
    attempts INTEGER, reserved_at INTEGER, available_at INTEGER, created_at INTEGER)');
