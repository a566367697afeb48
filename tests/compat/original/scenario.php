<?php
// Runs the same steps on any stack, and records the result of each step.
//
//   php scenario.php REGISTER SECRET PORT_A PORT_B EVENTS TRANSCRIPT

declare(strict_types=1);
require __DIR__ . '/load.php';
require __DIR__ . '/../lib.php';

use GatewayClient\Gateway;

error_reporting(E_ALL & ~E_DEPRECATED & ~E_WARNING & ~E_NOTICE);
[, $register, $secret, $port_a, $port_b, $events, $transcript] = $argv;
gateways($register, $secret, 2);
Gateway::$registerAddress = $register;
Gateway::$secretKey = $secret;

// Values that differ between runs, and their names in the transcript.
$names = [$port_a => 'port-A', $port_b => 'port-B'];
$clients = [];
$ids = [];
$lines = [];

function named(mixed $value): mixed
{
    global $names;
    if (is_array($value)) {
        $all = [];
        foreach ($value as $key => $item) {
            $all[is_int($key) ? $key : named($key)] = named($item);
        }
        return $all;
    }
    if (is_int($value)) {
        return $names[$value] ?? $value;
    }
    return is_string($value) ? strtr($value, array_map(strval(...), $names)) : $value;
}

function note(string $step, mixed $result): void
{
    global $lines, $clients;
    if (str_contains($step, '300 kB')) {
        // A close may still be in flight on one connection when a query arrives on another.
        usleep(100000);
    }
    // A query to both gateways: once it is answered, earlier commands have been executed.
    Gateway::getAllClientIdCount();
    $got = [];
    foreach ($clients as $name => $client) {
        $came = array_values(array_filter($client->drain(), fn ($one) => !is_string($one) || !str_starts_with($one, 'done ')));
        if ($came !== []) {
            $got[$name] = $came;
        }
    }
    $lines[] = $step . "\t" . json_encode(readable(named(['result' => $result, 'got' => $got])), JSON_UNESCAPED_UNICODE | JSON_UNESCAPED_SLASHES);
}

// Number of events recorded by the worker.
function noted(): int
{
    global $events;
    return count(file($events));
}

function join_in(string $name, string $port, string $path): void
{
    global $clients, $ids, $names;
    $client = new Client("127.0.0.1:$port");
    $names[$client->port()] = "port-$name";
    $client->shake($path, ['Cookie: c=1; d=x%20y', 'User-Agent: compat', 'X-Kind: a', 'X-Kind: b']);
    [, $id] = explode(' ', (string) $client->next());
    $names[$id] = "id-$name";
    $ids[$name] = $id;
    $clients[$name] = $client;
    // The worker has replied, so it has the client; the session of the handshake follows.
    for ($tries = 0; $tries < 200 && !Gateway::getSession($id); $tries++) {
        usleep(5000);
    }
}

$outside = function (string $function, array $arguments): mixed {
    ob_start();
    try {
        return [Gateway::class, $function](...$arguments);
    } catch (Throwable $error) {
        return 'throws ' . $error->getMessage();
    } finally {
        ob_end_clean();
    }
};
$inside = function (string $function, ?array $arguments): mixed {
    global $clients;
    $clients['worker']->send('do ' . serialize([$function, $arguments]), 2);
    for ($tries = 0; $tries < 50; $tries++) {
        $answer = $clients['worker']->next();
        if ($answer !== null && str_starts_with($answer, 'done ')) {
            return unserialize(base64_decode(substr($answer, 5)) ?: 'N;');
        }
    }
    return 'no answer';
};

function steps(string $group, callable $call, bool $outside): void
{
    global $clients, $ids, $port_a, $port_b;
    foreach (['A1' => $port_a, 'A2' => $port_a, 'B1' => $port_b] as $name => $port) {
        join_in($name, $port, "/$name?q[]=1&n[k]=v%20w&t=" . rawurlencode($group));
    }
    ['A1' => $a1, 'A2' => $a2, 'B1' => $b1] = $ids;
    $nobody = substr($a1, 0, 12) . '00000000';
    $step = function (string $name, string $function, mixed ...$arguments) use ($group, $call): void {
        $result = $call($function, $arguments);
        // Whether a message was written at once or queued does not depend on the gateway.
        note("$group $name", str_starts_with($function, 'send') && is_bool($result ?? true) ? 'sent' : $result);
    };
    $queries = function (string $when) use ($step, $outside, $a1, $a2, $b1, $nobody): void {
        foreach (['getAllClientIdCount', 'getAllClientCount', 'getAllClientIdList', 'getAllClientSessions', 'getAllClientInfo',
            'getAllUidList', 'getAllUidCount', 'getAllGroupIdList', 'getAllGroupUidList', 'getAllGroupUidCount',
            'getAllGroupClientIdList', 'getAllGroupClientIdCount'] as $function) {
            $step("$when $function", $function);
        }
        foreach (['room', '5', 'none', ''] as $group) {
            foreach (['getClientIdCountByGroup', 'getClientCountByGroup', 'getClientIdListByGroup', 'getClientSessionsByGroup',
                'getClientInfoByGroup', 'getUidListByGroup', 'getUidCountByGroup'] as $function) {
                $step("$when $function '$group'", $function, $group);
            }
        }
        foreach (['u1', 7, '7', '007', 'none', ''] as $uid) {
            foreach (['isUidOnline', 'getClientIdByUid'] as $function) {
                $step("$when $function " . var_export($uid, true), $function, $uid);
            }
        }
        foreach (['A1' => $a1, 'A2' => $a2, 'B1' => $b1, 'nobody' => $nobody, 'nonsense' => 'xyz'] as $name => $id) {
            foreach (['isOnline', 'getSession', 'getUidByClientId'] as $function) {
                $step("$when $function $name", $function, $id);
            }
        }
        if ($outside) {
            $step("$when isUidsOnline", 'isUidsOnline', ['u1', 7, 'none', '007']);
            $step("$when batchGetClientIdByUid", 'batchGetClientIdByUid', ['u1', 7, '7', 'none']);
            $step("$when batchGetClientIdCountByGroup", 'batchGetClientIdCountByGroup', ['room', '5', 5, 'none']);
        }
    };
    $queries('fresh');
    foreach ([[$a1, 'u1'], [$b1, 'u1'], [$a2, 7], [$a2, ''], [$a2, '0'], [$nobody, 'u2']] as $n => [$id, $uid]) {
        $step("bindUid $n", 'bindUid', $id, $uid);
    }
    foreach ([[$a1, 'room'], [$b1, 'room'], [$a1, 5], [$a2, '5'], [$a2, 'räume/中'], [$a1, ''], [$b1, '007']] as $n => [$id, $group]) {
        $step("joinGroup $n", 'joinGroup', $id, $group);
    }
    $step('setSession', 'setSession', $a1, ['n' => 1, 'f' => 0.1, 'list' => [1, 2, 3], 'm' => ['x' => "b\0\xff", 'y' => null]]);
    $step('setSession empty', 'setSession', $b1, []);
    $step('updateSession', 'updateSession', $a1, ['list' => [9], 'm' => ['z' => true], 5 => 'five', 'f' => -0.0]);
    $step('updateSession of an empty one', 'updateSession', $b1, ['a' => ['b' => ['c' => 1]]]);
    $step('updateSession of nobody', 'updateSession', $nobody, ['a' => 1]);
    $queries('bound');
    foreach (['text' => 'hello', 'empty' => '', 'number' => 5, 'true' => true, 'float' => 1.5, 'chinese' => '中文',
        'array' => ['a' => 1, 'b' => ['中', null]], '300 kB' => str_repeat('0123456789', 30000)] as $kind => $message) {
        $step("sendToClient $kind", 'sendToClient', $a1, $message);
        $step("sendToAll $kind", 'sendToAll', $message);
    }
    $step('sendToClient nobody', 'sendToClient', $nobody, 'x');
    $step('sendToAll to some', 'sendToAll', 'some', [$a1, $b1, $nobody]);
    $step('sendToAll to none', 'sendToAll', 'none', []);
    $step('sendToAll but some', 'sendToAll', 'but', null, [$a1]);
    $step('sendToAll but one', 'sendToAll', 'but one', null, $b1);
    $step('sendToAll to some but one', 'sendToAll', 'some but', [$a1, $a2, $b1], [$a2]);
    $step('sendToAll raw', 'sendToAll', "\x81\x03raw", null, null, true);
    $step('sendToAll raw binary', 'sendToAll', "\x82\x03\0\xff\1", null, null, true);
    $step('sendToUid', 'sendToUid', 'u1', 'u');
    $step('sendToUid number', 'sendToUid', 7, 'seven');
    $step('sendToUid several', 'sendToUid', ['u1', 7, '7', 'none'], 'several');
    $step('sendToUid none', 'sendToUid', 'none', 'x');
    $step('sendToGroup', 'sendToGroup', 'room', 'g');
    $step('sendToGroup number', 'sendToGroup', 5, 'five');
    $step('sendToGroup several', 'sendToGroup', ['room', '5', 'none'], 'several');
    $step('sendToGroup but one', 'sendToGroup', 'room', 'but', [$a1]);
    $step('sendToGroup empty name', 'sendToGroup', '', 'x');
    if (!$outside) {
        foreach (['sendToClient' => $a1, 'sendToUid' => 'u1', 'sendToGroup' => 'room'] as $function => $whom) {
            $raw = $function === 'sendToGroup' ? [$whom, "\x82\x02\0\xff", null, true] : [$whom, "\x82\x02\0\xff", true];
            $step("$function raw", $function, ...$raw);
        }
        $step('setSocketSession', 'setSocketSession', $a2, serialize(['socket' => 1]));
        $step('and what it set', 'getSession', $a2);
    }
    $step('leaveGroup', 'leaveGroup', $a1, 'room');
    $step('leaveGroup not in', 'leaveGroup', $a2, 'none');
    $step('unbindUid', 'unbindUid', $a2, 'whatever');
    $step('rebind', 'bindUid', $a1, 'u9');
    $step('ungroup', 'ungroup', '5');
    $step('ungroup empty name', 'ungroup', '');
    $queries('unbound');
    $before = noted();
    $clients['A1']->send("binary \0\xff", 2);
    $clients['A1']->send('');
    $clients['B1']->send(str_repeat('x', 300000));
    // A slow worker would query the session of a closed client.
    for ($tries = 0; $tries < 1000 && noted() < $before + 3; $tries++) {
        usleep(5000);
    }
    note("$group messages of clients", null);
    $step('closeClient with a farewell', 'closeClient', $a1, 'bye');
    $step('closeClient', 'closeClient', $a2);
    $step('closeClient of nobody', 'closeClient', $nobody);
    $step('destoryClient', 'destoryClient', $b1);
    foreach (['A1', 'A2', 'B1'] as $name) {
        unset($clients[$name]);
    }
    $queries('gone');
}

foreach ([false, true] as $lasting) {
    Gateway::$persistentConnection = $lasting;
    steps($lasting ? 'outside, persistent:' : 'outside:', $outside, true);
}
Gateway::$persistentConnection = false;
join_in('worker', $port_b, '/worker');
steps('inside:', $inside, false);
foreach (['sendToCurrentClient' => ['to myself'], 'isOnline' => [$ids['worker']], 'getSession' => [$ids['worker']]] as $function => $arguments) {
    note("inside: $function of the asker", $inside($function, $arguments));
}
foreach ([['a' => 1, 'b' => [1, 2]], [], null] as $session) {
    $inside('session', $session);
    for ($tries = 0; $tries < 200 && Gateway::getSession($ids['worker']) !== ($session ?? []); $tries++) {
        usleep(5000);
    }
    note('inside: $_SESSION = ' . json_encode($session), Gateway::getSession($ids['worker']));
}
$clients['worker']->send('do ' . serialize(['closeCurrentClient', ['gone']]));
usleep(300000);
note('inside: closeCurrentClient', null);
$clients = [];
join_in('worker', $port_a, '/worker');
$clients['worker']->send('do ' . serialize(['destoryCurrentClient', []]));
usleep(300000);
note('inside: destoryCurrentClient', null);
$clients = [];

// The ways in which a client may disconnect, including one without a handshake.
foreach (['close frame' => "\x03\xe8bye", 'end' => null] as $how => $farewell) {
    join_in('leaver', $port_a, '/leaver');
    if ($farewell !== null) {
        $clients['leaver']->send($farewell, 8);
    }
    fclose($clients['leaver']->stream);
    $clients = [];
    for ($tries = 0; $tries < 400 && Gateway::isOnline($ids['leaver']); $tries++) {
        usleep(5000);
    }
    note("leaving by $how", Gateway::isOnline($ids['leaver']));
}
$silent = new Client("127.0.0.1:$port_b");
$names[$silent->port()] = 'port-silent';
for ($tries = 0; $tries < 200 && ($there = Gateway::getAllClientIdList()) === []; $tries++) {
    usleep(5000);
}
$names[(string) key($there)] = 'id-silent';
note('a connection without a handshake', count($there));
Gateway::sendToAll('never heard');
Gateway::bindUid((string) key($there), 'silent');
note('can be bound', Gateway::getClientIdByUid('silent'));
fclose($silent->stream);
for ($tries = 0; $tries < 400 && Gateway::getAllClientIdCount() > 0; $tries++) {
    usleep(5000);
}
note('and is forgotten', [Gateway::getAllClientIdCount(), Gateway::isUidOnline('silent')]);

// The events of each client in order of arrival. The last ones arrive at the worker shortly after.
usleep(500000);
$count = [];
foreach (file($events) as $line) {
    $event = unserialize(base64_decode($line));
    $who = named($event['client']);
    $count[$event['client']] = ($count[$event['client']] ?? 0) + 1;
    $all[$event['client']][] = "event $who {$count[$event['client']]}\t" . json_encode(readable(named($event)), JSON_UNESCAPED_UNICODE | JSON_UNESCAPED_SLASHES);
}
file_put_contents($transcript, implode("\n", array_merge($lines, ...array_values($all))) . "\n");
