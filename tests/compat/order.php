<?php
// The effect of a command on one connection must be visible to a later query on another.
//
//   php order.php REGISTER SECRET CLIENT_PORT TRIES [busy|RELAY]
//
// In turn: command on a persistent connection and query on a new one; command and query on two new
// ones; command on the persistent one and query on one that was opened before and has sent nothing.
// Every 500 tries, connections with one message each must deliver in the order of their creation.
//
// With `busy`, a hundred other connections send continuously meanwhile. With RELAY, the address of
// a relay to the gateway that delays some connections, order is lost, and each of these checks must
// detect it.

declare(strict_types=1);
require __DIR__ . '/lib.php';

[, $register, $secret, $port, $tries] = $argv;
$busy = ($argv[5] ?? '') === 'busy';
$relay = $busy ? null : $argv[5] ?? null;
$inner = $relay ?? gateways($register, $secret)[0];
$hello = $secret === '' ? '' : hello($secret);
$worker = dial($inner);
write_all($worker, worker_hello('order:0', $secret));
ask($worker, COUNT_BY_GROUP);
$clients = [];
foreach (range(1, 4) as $n) {
    $client = (new Client("127.0.0.1:$port"))->shake();
    $clients[event($worker)['connection']] = $client;
    event($worker);
}

if ($busy) {
    $script = getmypid();
    $child = pcntl_fork();
    if ($child === 0) {
        $links = array_map(fn () => dial($inner), range(1, 100));
        // Until the script exits, however it does.
        while (posix_getppid() === $script) {
            foreach ($links as $link) {
                write_all($link, $hello . frame(PING));
            }
        }
        posix_kill(getmypid(), SIGKILL);
    }
    register_shutdown_function(fn () => posix_kill($child, SIGKILL));
}

$lasting = dial($inner);
write_all($lasting, $hello);
$lost = ['lasting' => 0, 'silent' => 0, 'fresh' => 0, 'session' => 0, 'messages' => 0];
$ids = array_keys($clients);
for ($try = 0; $try < (int) $tries; $try++) {
    $id = $ids[$try % 4];
    $group = "g$try";
    $second = null;
    if ($try % 3 === 0) {
        write_all($lasting, frame(JOIN, $id, $group));
        $kind = 'lasting';
    } elseif ($try % 3 === 1) {
        $second = dial($inner);
        if ($try % 2 === 0) {
            usleep(200);
        }
        write_all($lasting, frame(JOIN, $id, $group));
        $kind = 'silent';
    } else {
        $first = dial($inner);
        write_all($first, $hello . frame(JOIN, $id, $group));
        fclose($first);
        $kind = 'fresh';
    }
    $second ??= dial($inner);
    write_all($second, $hello);
    if (ask($second, COUNT_BY_GROUP, 0, $group) !== 'i:1;') {
        $lost[$kind]++;
    }
    if ($try % 10 === 0) {
        $session = serialize(['try' => $try]);
        write_all($lasting, frame(SET_SESSION, $id, $session));
        if (ask($second, GET_SESSION, $id) !== $session) {
            $lost['session']++;
        }
    }
    write_all($lasting, frame(LEAVE, $id, $group));
    fclose($second);
    if ($try % 500 === 0) {
        for ($n = 0; $n < 50; $n++) {
            $once = dial($inner);
            write_all($once, $hello . frame(SEND_TO_ALL, body: "$try $n"));
            fclose($once);
        }
        foreach ($clients as $client) {
            for ($n = 0; $n < 50; $n++) {
                if ($client->next() !== "$try $n") {
                    $lost['messages']++;
                }
            }
        }
    }
}
foreach ($lost as $kind => $times) {
    if ($relay !== null) {
        check("lost order is detected, $kind ($times)", true, $times > 0);
    } else {
        check("order lost, $kind", 0, $times);
    }
}
finish("order, $tries tries" . match (true) {
    $relay !== null => ', ' . array_sum($lost) . ' of them lost on purpose',
    $busy => ' among busy links',
    default => '',
});
