<?php
// Walks through docs/from-gatewayworker.md, "Moving with live clients", and back, with the original's
// processes, and accounts for every client and every message.
//
//   GATEWAYWORKER_PHP=… BIN=… FOLDER=… php walk.php

declare(strict_types=1);
require __DIR__ . '/../processes.php';
require __DIR__ . '/../both/outside.php';
require __DIR__ . '/live.php';

// Calls from outside fail while a gateway goes; they are counted.
ini_set('display_errors', '0');
ini_set('log_errors', '0');
$cluster = new Cluster('the secret');
$port = ['php A' => free_port(), 'php B' => free_port(), 'ours A' => free_port(), 'ours B' => free_port()];
$inner = array_map(fn () => free_port(), $port);
$names = array_flip($inner);
$running = [];
$start = function (string $name) use ($cluster, $port, $inner, &$running): void {
    [$kind] = explode(' ', $name);
    $running[$name] = $cluster->gateway($kind, strtr("gateway $name", ' ', '-'), $port[$name], $inner[$name]);
};
// Clients of a fresh gateway come once its workers are there.
$listed = fn (int $count) => count(gateways($cluster->register, $cluster->secret, $count));

// The proxy, as a relay whose other end is changed.
$proxy = '127.0.0.1:' . free_port();
$upstream = folder() . '/upstream';
$turn = fn (string $name) => file_put_contents("$upstream.new", "127.0.0.1:$port[$name]") && rename("$upstream.new", $upstream);

$register = $cluster->register('php');
$start('php A');
$start('php B');
$listed(2);
$workers = [$cluster->worker('php', 'worker-1'), $cluster->worker('php', 'worker-2')];
$turn('php A');
$relay = new Process('relay', ['php', __DIR__ . '/../relay.php', $proxy, $upstream]);
eventually(fn () => @fsockopen('tcp://' . $proxy) !== false);
// A gateway of the original closes who comes before a worker does.
sleep(3);

$crowd = new Crowd($proxy, new Outside($cluster, true));
$on = function () use ($crowd, $inner): array {
    return array_filter(array_map(fn (int $one) => count($crowd->on($one)), $inner));
};

// Ends a step: everything said is answered and every push heard, but for what is told here.
$step = function (string $what, array $closed, array $where) use ($crowd, $on, $names): void {
    static $answers = 0, $heard = 0, $failed = 0;
    $crowd->live(0.3);
    $even = $crowd->settle();
    check("$what: every message is answered, every push heard", [true, []], [$even, $crowd->uneven()]);
    check("$what: in order, once, none missing", [], array_slice($crowd->faults, 0, 10));
    $lost = array_count_values(array_map(fn (array $one) => $names[$one['inner']] ?? '?', $crowd->closed));
    ksort($lost);
    check("$what: who was disconnected", $closed, $lost);
    check("$what: where clients are", $where, $on());
    $how = array_count_values(array_map(fn (array $one) => preg_replace('/=.*/', '=…', $one['how']), $crowd->closed));
    printf("  %-44s %6d answers, %6d pushes heard; %d calls from outside failed; disconnected: %d, with %d messages unanswered%s; others: %d unanswered, %d pushes unheard\n", "$what:",
        $crowd->answers - $answers, $crowd->heard - $heard, count($crowd->failed) - $failed,
        count($crowd->closed), array_sum(array_column($crowd->closed, 'unanswered')), $how === [] ? '' : ' (' . json_encode($how) . ')', $crowd->missing, $crowd->unheard);
    [$answers, $heard, $failed] = [$crowd->answers, $crowd->heard, count($crowd->failed)];
    [$crowd->closed, $crowd->faults, $crowd->missing, $crowd->unheard, $crowd->lossy] = [[], [], 0, 0, false];
};

$crowd->add(8);
$crowd->live(1);
$turn('php B');
$crowd->add(4);
$crowd->live(2, fn () => array_sum($on()) === 12);
$step('before', [], ['php A' => 8, 'php B' => 4]);

// 1. The register. Killed, so that it cannot tell workers of gateways that are gone.
$crowd->live(0.5);
$register->kill();
$crowd->live(0.5);
$register = $cluster->register('ours');
$crowd->live(8);
$step('1. our register', [], ['php A' => 8, 'php B' => 4]);

// 2. Our gateways, beside the PHP ones.
$start('ours A');
$start('ours B');
$crowd->live(10, fn () => count(gateways($cluster->register, $cluster->secret)) === 4);
$crowd->live(2);
$step('2. our gateways beside', [], ['php A' => 8, 'php B' => 4]);

// 3. New clients to ours.
$turn('ours A');
$crowd->add(4);
$crowd->live(1);
$turn('ours B');
$crowd->add(4);
$crowd->live(2);
$step('3. new clients to ours', [], ['php A' => 8, 'php B' => 4, 'ours A' => 4, 'ours B' => 4]);

// 4. Drain the PHP gateways: most clients leave by themselves.
foreach (array_slice($crowd->on($inner['php A']), 0, 6) as $client) {
    $client->leave();
}
$crowd->live(1);
$step('4. clients of PHP gateways leave', [], ['php A' => 2, 'php B' => 4, 'ours A' => 4, 'ours B' => 4]);
$running['php A']->stop(SIGINT);
$crowd->live(3);
$step('4. a PHP gateway stops', ['php A' => 2], ['php B' => 4, 'ours A' => 4, 'ours B' => 6]);
$running['php B']->stop(SIGINT);
$crowd->live(3);
$step('4. the other stops', ['php B' => 4], ['ours A' => 4, 'ours B' => 10]);

// 5. Done. Workers reload.
foreach ($workers as $worker) {
    posix_kill($worker->pid, SIGUSR1);
}
// A worker that ends may leave messages unanswered that it was sent.
$crowd->lossy = true;
$crowd->live(3);
$step('5. PHP workers reload', [], ['ours A' => 4, 'ours B' => 10]);

// The way back. The register first, while our gateways hold the clients.
// Until all gateways are back on it, calls from outside reach only some, and workers that ask may end.
$back = function () use (&$register, $cluster, $crowd): void {
    $crowd->lossy = true;
    $register->stop();
    $crowd->live(0.5);
    $register = $cluster->register('php');
    $crowd->live(6);
};
$back();
$step('back: the PHP register', [], ['ours A' => 4, 'ours B' => 10]);

// The last step where one start.php ran it all: PHP stops altogether, and workers alone come again.
$crowd->lossy = true;
foreach ([$register, ...$workers] as $process) {
    posix_kill($process->pid, SIGINT);
}
$crowd->live(4);
foreach ([$register, ...$workers] as $process) {
    $process->kill();
}
$register = $cluster->register('ours');
$workers = [$cluster->worker('php', 'worker-1'), $cluster->worker('php', 'worker-2')];
$crowd->live(8);
$step('one start.php: all of PHP stops for 4 seconds', [], ['ours A' => 4, 'ours B' => 10]);

$back();
$step('back: the PHP register once more', [], ['ours A' => 4, 'ours B' => 10]);
$start('php A');
$crowd->live(10, fn () => count(gateways($cluster->register, $cluster->secret)) === 3);
$crowd->live(3);
$step('back: a PHP gateway beside ours', [], ['ours A' => 4, 'ours B' => 10]);
$turn('php A');
$crowd->add(3);
$crowd->live(1);
$step('back: new clients to it', [], ['php A' => 3, 'ours A' => 4, 'ours B' => 10]);
foreach (['ours A', 'ours B'] as $name) {
    posix_kill($running[$name]->pid, SIGTERM);
    $crowd->live(15, fn () => !$running[$name]->isRunning());
}
$crowd->live(3);
$step('back: ours stop', ['ours A' => 4, 'ours B' => 10], ['php A' => 17]);
finish('migration');
