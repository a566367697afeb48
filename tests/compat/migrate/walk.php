<?php
// Performs the migration of docs/from-gatewayworker.md, "Moving with live clients", and the way
// back, with processes of the original, and accounts for every client and message.
//
//   GATEWAYWORKER_PHP=… BIN=… FOLDER=… php walk.php

declare(strict_types=1);
require __DIR__ . '/../processes.php';
require __DIR__ . '/../both/outside.php';
require __DIR__ . '/live.php';

// Calls of the back end fail while a gateway stops; they are counted.
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
// Clients connect to a new gateway once its workers are linked.
$listed = fn (int $count) => count(gateways($cluster->register, $cluster->secret, $count));

// The proxy: a relay with a changeable upstream.
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
// A gateway of the original closes clients that connect before a worker is linked.
sleep(3);

$pool = new ClientPool($proxy, new Outside($cluster, true));
$on = function () use ($pool, $inner): array {
    return array_filter(array_map(fn (int $one) => count($pool->on($one)), $inner));
};

// Ends a step: every message is answered and every push received, except as given here.
$step = function (string $what, array $closed, array $where) use ($pool, $on, $names): void {
    static $answers = 0, $received = 0, $failed = 0;
    $pool->run(0.3);
    $settled = $pool->settle();
    check("$what: every message is answered, every push received", [true, []], [$settled, $pool->unsettled()]);
    check("$what: in order, once, none missing", [], array_slice($pool->faults, 0, 10));
    $lost = array_count_values(array_map(fn (array $one) => $names[$one['inner']] ?? '?', $pool->closed));
    ksort($lost);
    check("$what: disconnected clients per gateway", $closed, $lost);
    check("$what: clients per gateway", $where, $on());
    $how = array_count_values(array_map(fn (array $one) => preg_replace('/=.*/', '=…', $one['how']), $pool->closed));
    printf("  %-44s %6d answers, %6d pushes received; %d back-end calls failed; disconnected: %d, with %d messages unanswered%s; others: %d unanswered, %d pushes missing\n", "$what:",
        $pool->answers - $answers, $pool->received - $received, count($pool->failed) - $failed,
        count($pool->closed), array_sum(array_column($pool->closed, 'unanswered')), $how === [] ? '' : ' (' . json_encode($how) . ')', $pool->missing, $pool->missedPushes);
    [$answers, $received, $failed] = [$pool->answers, $pool->received, count($pool->failed)];
    [$pool->closed, $pool->faults, $pool->missing, $pool->missedPushes, $pool->lossy] = [[], [], 0, 0, false];
};

$pool->add(8);
$pool->run(1);
$turn('php B');
$pool->add(4);
$pool->run(2, fn () => array_sum($on()) === 12);
$step('before', [], ['php A' => 8, 'php B' => 4]);

// 1. The register. Killed, so that it cannot announce closed gateways to workers.
$pool->run(0.5);
$register->kill();
$pool->run(0.5);
$register = $cluster->register('ours');
$pool->run(8);
$step('1. our register', [], ['php A' => 8, 'php B' => 4]);

// 2. Our gateways, in addition to the PHP ones.
$start('ours A');
$start('ours B');
$pool->run(10, fn () => count(gateways($cluster->register, $cluster->secret)) === 4);
$pool->run(2);
$step('2. our gateways beside', [], ['php A' => 8, 'php B' => 4]);

// 3. New clients on our gateways.
$turn('ours A');
$pool->add(4);
$pool->run(1);
$turn('ours B');
$pool->add(4);
$pool->run(2);
$step('3. new clients to ours', [], ['php A' => 8, 'php B' => 4, 'ours A' => 4, 'ours B' => 4]);

// 4. Drain the PHP gateways: most clients disconnect by themselves.
foreach (array_slice($pool->on($inner['php A']), 0, 6) as $client) {
    $client->leave();
}
$pool->run(1);
$step('4. clients of PHP gateways leave', [], ['php A' => 2, 'php B' => 4, 'ours A' => 4, 'ours B' => 4]);
$running['php A']->stop(SIGINT);
$pool->run(3);
$step('4. a PHP gateway stops', ['php A' => 2], ['php B' => 4, 'ours A' => 4, 'ours B' => 6]);
$running['php B']->stop(SIGINT);
$pool->run(3);
$step('4. the other stops', ['php B' => 4], ['ours A' => 4, 'ours B' => 10]);

// 5. Done. Workers reload.
foreach ($workers as $worker) {
    posix_kill($worker->pid, SIGUSR1);
}
// A stopping worker may leave messages unanswered.
$pool->lossy = true;
$pool->run(3);
$step('5. PHP workers reload', [], ['ours A' => 4, 'ours B' => 10]);

// The way back. The register first, while our gateways hold the clients. Until all gateways have
// reconnected to it, back-end calls reach only some, and workers that send queries may exit.
$back = function () use (&$register, $cluster, $pool): void {
    $pool->lossy = true;
    $register->stop();
    $pool->run(0.5);
    $register = $cluster->register('php');
    $pool->run(6);
};
$back();
$step('back: the PHP register', [], ['ours A' => 4, 'ours B' => 10]);

// The last step if one start.php ran everything: PHP stops completely, and only workers restart.
$pool->lossy = true;
foreach ([$register, ...$workers] as $process) {
    posix_kill($process->pid, SIGINT);
}
$pool->run(4);
foreach ([$register, ...$workers] as $process) {
    $process->kill();
}
$register = $cluster->register('ours');
$workers = [$cluster->worker('php', 'worker-1'), $cluster->worker('php', 'worker-2')];
$pool->run(8);
$step('one start.php: all of PHP stops for 4 seconds', [], ['ours A' => 4, 'ours B' => 10]);

$back();
$step('back: the PHP register once more', [], ['ours A' => 4, 'ours B' => 10]);
$start('php A');
$pool->run(10, fn () => count(gateways($cluster->register, $cluster->secret)) === 3);
$pool->run(3);
$step('back: a PHP gateway beside ours', [], ['ours A' => 4, 'ours B' => 10]);
$turn('php A');
$pool->add(3);
$pool->run(1);
$step('back: new clients to it', [], ['php A' => 3, 'ours A' => 4, 'ours B' => 10]);
foreach (['ours A', 'ours B'] as $name) {
    posix_kill($running[$name]->pid, SIGTERM);
    $pool->run(15, fn () => !$running[$name]->isRunning());
}
$pool->run(3);
$step('back: ours stop', ['ours A' => 4, 'ours B' => 10], ['php A' => 17]);
finish('migration');
