<?php
// PHP workers and Rust workers in one cluster.
//
//   BIN=… MEMORY=… FOLDER=… php both.php php|like-php
//
// `php` runs workers and clients of the original, and gateways of both kinds on one register;
// `like-php` runs scripts with the same protocol instead, on our gateway only.

declare(strict_types=1);
require __DIR__ . '/../processes.php';
require __DIR__ . '/events.php';
require __DIR__ . '/outside.php';

$php = $argv[1] === 'php' ? 'php' : 'like php';

// Kills a worker and waits until its gateways notice: events written to the link of a PHP worker
// before that are lost, since PHP workers do not acknowledge.
function kill(Process $worker): void
{
    $worker->kill();
    usleep(200000);
}

// Which worker serves a client: its kind, its process, and the client id.
function who(Client $client): array
{
    $client->send('who');
    return explode(' ', (string) $client->next());
}

function asks(Client $client, string $what): ?string
{
    $client->send($what);
    $answer = $client->next();
    if (in_array(explode(' ', $what)[0], ['set', 'update', 'keep'], true)) {
        // A PHP worker sends the session change after its reply.
        usleep(50000);
    }
    return $answer;
}

function session(Client $client): mixed
{
    return json_decode((string) asks($client, 'session'), true);
}

function json(mixed $value): string
{
    return json_encode($value, JSON_UNESCAPED_UNICODE | JSON_PRESERVE_ZERO_FRACTION | JSON_THROW_ON_ERROR);
}

function kinds(array $clients): array
{
    return array_map(fn (Client $client) => who($client)[0], $clients);
}

// Connects this many clients per kind of worker; surplus clients disconnect.
function crowd(int $port, int $each, array $of = ['php', 'rust']): array
{
    $crowd = array_fill_keys($of, []);
    for ($tries = 0; $tries < 100 && min(array_map(count(...), $crowd)) < $each; $tries++) {
        $client = (new Client("127.0.0.1:$port"))->shake();
        $kind = who($client)[0];
        if (isset($crowd[$kind]) && count($crowd[$kind]) < $each) {
            $crowd[$kind][] = $client;
        } else {
            $others[] = $client;
            usleep(20000);
        }
    }
    check('new clients are assigned to workers of both kinds', array_fill_keys($of, $each), array_map(count(...), $crowd));
    return $crowd;
}

// What each client has received, once the first message has arrived.
function heard(array $clients, string $message): array
{
    return array_map(fn (Client $client) => [$client->next(), ...$client->drain()], $clients);
}

$values = ['text' => 'a "quoted" \\ / line', 'unicode' => '中文 räume 🐸', 'control' => "a\0b\n", 'int' => 42, 'minus' => -7,
    'biggest' => PHP_INT_MAX, 'smallest' => PHP_INT_MIN, 'float' => 0.1, 'huge' => 1e100, 'third' => 1 / 3, 'whole' => 5.0,
    'yes' => true, 'no' => false, 'nothing' => null, 'list' => [1, 'two', 3.5, [4, [5]]],
    'map' => ['a' => ['b' => ['c' => ['d' => '深']]]], 'numbers' => ['5' => 'five', '007' => 'agent', '-3' => 'minus'],
    'none' => [], '12' => 'twelve'];
$others = ['written' => 'second', 'list' => ['x', ['y' => 'ÿ']], '7' => 7];

// --- one gateway, a worker of each kind --------------------------------------------------------

$cluster = new Cluster('a secret');
$outside = new Outside($cluster, $php === 'php');
$port = free_port();
$register = $cluster->register('ours', '--startup-grace', '0');
$gateway = $cluster->gateway('ours', 'gateway', $port, free_port(), '--worker-window', (string) (64 << 20));
$worker = ['php' => $cluster->worker($php, 'worker-php'), 'rust' => $cluster->worker('rust', 'worker-rust')];
gateways($cluster->register, $cluster->secret);
['php' => [$p1, $p2, $p3], 'rust' => [$r1, $r2, $r3]] = crowd($port, 3);
$all = ['p1' => $p1, 'p2' => $p2, 'p3' => $p3, 'r1' => $r1, 'r2' => $r2, 'r3' => $r3];
$everybody = fn (mixed $value) => array_fill_keys(array_keys($all), $value);

foreach ($all as $name => $client) {
    check("$name joins through its own worker", 'done', asks($client, 'join room'));
    check("$name is bound by its own worker", 'done', asks($client, 'bind ' . substr($name, 1)));
}
foreach (['all' => ['sendToAll', 'to all'], 'the group' => ['sendToGroup', 'room', 'to the group']] as $recipient => $call) {
    $outside->{$call[0]}(...array_slice($call, 1));
    check("from a back end to $recipient", $everybody([end($call)]), heard($all, end($call)));
}
$outside->sendToUid('2', 'to a uid');
check('from a back end to a uid with a client of each kind', ['p2' => ['to a uid'], 'r2' => ['to a uid']],
    heard(['p2' => $p2, 'r2' => $r2], 'to a uid'));
foreach (['a PHP worker' => $p1, 'a Rust worker' => $r1] as $sender_of => $client) {
    $client->send("all from $sender_of");
    check("from $sender_of to all", $everybody(["from $sender_of"]), heard($all, "from $sender_of"));
    $client->send("group room group from $sender_of");
    check("from $sender_of to a group", $everybody(["group from $sender_of"]), heard($all, "group from $sender_of"));
    $client->send("uid 3 uid from $sender_of");
    check("from $sender_of to a uid", ['p3' => ["uid from $sender_of"], 'r3' => ["uid from $sender_of"]], heard(['p3' => $p3, 'r3' => $r3], ''));
    check('and to no other client', $everybody([]), array_map(fn (Client $client) => $client->drain(), $all));
}
$ids = array_map(fn (Client $client) => who($client)[2], $all);
check('a query for a group', 6, $outside->getClientIdCountByGroup('room'));
check('a query for a uid', [$ids['p1'], $ids['r1']], sorted($outside->getClientIdByUid('1'), $ids));

function sorted(array $found, array $ids): array
{
    return array_values(array_intersect($ids, $found));
}

// --- sessions, and workers that are killed ------------------------------------------------------

check('PHP writes a session', 'done', asks($p1, 'set ' . json($values)));
check('and reads it', $values, session($p1));
check('Rust writes a session', 'done', asks($r1, 'set ' . json($values)));
check('and reads it', $values, session($r1));
check('what Rust wrote, queried by a back end', $values, $outside->getSession($ids['r1']));
check('PHP keeps objects in a session', 'done', asks($p2, 'keep'));
check('and reads them unchanged', 'whole', asks($p2, 'kept'));

kill($worker['php']);
check('a killed PHP worker hands its clients to the Rust worker', $everybody('rust'), kinds($all));
check('what PHP wrote, read by Rust', $values, session($p1));
$changes = ['list' => [9], 'map' => ['a' => ['b' => '中']], 'new' => ['größe' => 1]];
check('Rust changes it', 'done', asks($p1, 'update ' . json($changes)));
$changed = array_replace_recursive($values, $changes);
check('and reads it', $changed, session($p1));
check('PHP objects are null to Rust', ['thing' => null, 'same' => null, 'date' => null, 'n' => 1], session($p2));
check('Rust changes another key', 'done', asks($p2, 'update {"n":2,"by":"Rust"}'));
$kept = $outside->getSession($ids['p2']);
check('and leaves objects unchanged', true, $kept['thing']->isWhole() && $kept['same'] === $kept['thing'] && [$kept['n'], $kept['by']] === [2, 'Rust']);

$worker['php'] = $cluster->worker($php, 'worker-php');
crowd($port, 1, ['php']);
check('clients with a worker stay assigned to it', $everybody('rust'), kinds($all));
kill($worker['rust']);
check('a killed Rust worker hands its clients to the PHP worker', $everybody('php'), kinds($all));
check('what both wrote, read by PHP', $changed, session($p1));
check('what Rust wrote, read by PHP', $values, session($r1));
check('objects are unchanged after a Rust worker', 'whole', asks($p2, 'kept'));
check('PHP writes again', 'done', asks($r1, 'set ' . json($others)));
check('and changes', 'done', asks($p2, 'update {"n":3}'));
$worker['rust'] = $cluster->worker('rust', 'worker-rust');
crowd($port, 1, ['rust']);
kill($worker['php']);
check('killed again, handed over again', $everybody('rust'), kinds($all));
check('what PHP wrote over what Rust wrote, read by Rust', $others, session($r1));
check('what PHP wrote beside objects', 3, session($p2)['n']);

// --- events that a killed worker has not read -------------------------------------------------

const BACKLOG = 200;

// Suspends a worker, sends more than its link buffers, kills it; returns the next one's replies.
function handed_over(Process $worker, int $pid, array $clients): array
{
    posix_kill($pid, SIGSTOP);
    // Clients of a slow worker are paused, so a child process sends everything.
    $sender = pcntl_fork();
    if ($sender === 0) {
        for ($n = 0; $n < BACKLOG; $n++) {
            foreach ($clients as $client) {
                $client->send("n $n " . str_repeat('x', 50000));
            }
        }
        // A normal exit would close the parent's connections as well.
        posix_kill(getmypid(), SIGKILL);
    }
    usleep(300000);
    $worker->kill();
    $answers = [];
    foreach ($clients as $name => $client) {
        do {
            $answer = $client->next();
            $answers[$name][] = $answer;
        } while ($answer !== null && $answer !== 'n ' . (BACKLOG - 1));
    }
    pcntl_waitpid($sender, $status);
    return $answers;
}

// Checks that the replies are a suffix of the backlog, in order, without duplicates; prints how
// much is missing.
function suffix(string $what, array $answers): void
{
    foreach ($answers as $name => $found) {
        $missing = BACKLOG - count($found);
        check("$what: $name, all in order but for the first $missing", array_map(fn (int $n) => "n $n", range($missing, BACKLOG - 1)), $found);
        $lost[] = $missing;
    }
    echo "  $what: ", implode(' and ', $lost), ' of ', BACKLOG, " messages of 50 kB were on the dead link\n";
}

$worker['php'] = $cluster->worker($php, 'worker-php');
['php' => [$a, $b]] = crowd($port, 2, ['php']);
suffix('PHP to Rust', handed_over($worker['php'], (int) who($a)[1], ['a' => $a, 'b' => $b]));
check('and they are served', ['rust', 'rust'], kinds([$a, $b]));
$worker['php'] = $cluster->worker($php, 'worker-php');
crowd($port, 1, ['php']);
$answers = handed_over($worker['rust'], (int) who($a)[1], ['a' => $a, 'b' => $b]);
$whole = array_map(fn (int $n) => "n $n", range(0, BACKLOG - 1));
check('every event of a killed Rust worker is redelivered', ['a' => $whole, 'b' => $whole], $answers);
check('and they are served', ['php', 'php'], kinds([$a, $b]));
$second = $cluster->worker($php, 'worker-php-2');
$pids = [];
for ($tries = 0; $tries < 100 && count($pids) < 2; $tries++) {
    $others[] = $client = (new Client("127.0.0.1:$port"))->shake();
    $pids[who($client)[1]] = true;
    usleep(20000);
}
check('a second PHP worker has clients too', 2, count($pids));
$first = (int) who($a)[1];
suffix('PHP to PHP', handed_over($worker['php'], $first, ['a' => $a, 'b' => $b]));
check('and they are served by the second', [true, true], array_map(fn (Client $client) => (int) who($client)[1] !== $first, [$a, $b]));
if ($php === 'php') {
    posix_kill((int) who($a)[1], SIGKILL);
    usleep(200000);
    check('a worker restarted by its master gets its clients back', ['php', 'php'], kinds([$a, $b]));
}
check('no client was closed', $everybody('php'), kinds($all));
check('no group membership was lost', 6, $outside->getClientIdCountByGroup('room'));
foreach ([$gateway, $register] as $process) {
    check("$process->name exits cleanly", true, $process->stop());
}
$second->stop();
$all = [];

// --- gateways of both kinds on one register ------------------------------------------------------

if ($php === 'php') {
    foreach (['ours', 'php'] as $kind) {
        mixed($kind);
    }
}

function mixed(string $kind): void
{
    $of = "on the register ($kind)";
    $cluster = new Cluster('another secret');
    $outside = new Outside($cluster, true);
    ['ours' => $ours, 'php' => $theirs] = $ports = ['ours' => free_port(), 'php' => free_port()];
    $inner = ['ours' => free_port(), 'php' => free_port()];
    $started = [$cluster->register($kind)];
    foreach ($ports as $which => $port) {
        $started[] = $cluster->gateway($which, "gateway-$which", $port, $inner[$which]);
    }
    gateways($cluster->register, $cluster->secret, 2);
    $began = microtime(true);
    $php = $cluster->worker('php', 'worker-php');
    $rust = $cluster->worker('rust', 'worker-rust');
    $found = crowd($ours, 2);
    $clients = ['ours, php' => $found['php'][0], 'ours, rust' => $found['rust'][0]];
    foreach (['theirs 1', 'theirs 2'] as $name) {
        // Without a worker, a PHP gateway closes new clients.
        eventually(function () use (&$clients, $name, $theirs): bool {
            try {
                $clients[$name] = (new Client("127.0.0.1:$theirs"))->shake();
                return who($clients[$name])[0] === 'php';
            } catch (RuntimeException) {
                return false;
            }
        });
    }
    array_map(fn (array $some) => array_map(fn (Client $one) => $one === $found['php'][0] || $one === $found['rust'][0] || fclose($one->stream), $some), $found);
    $each = fn (mixed $value) => array_fill_keys(array_keys($clients), $value);
    check("$of: each has its worker", ['php', 'rust', 'php', 'php'], array_values(kinds($clients)));
    foreach ($clients as $name => $client) {
        check("$of: $name joins", 'done', asks($client, 'join room'));
        check("$of: $name is bound", 'done', asks($client, 'bind u'));
        check("$of: the session of $name is stored", 'done', asks($client, 'set ' . json(['name' => $name, 'list' => ['中', 1.5]])));
    }
    $ids = array_map(fn (Client $client) => who($client)[2], $clients);
    eventually(fn () => $outside->getClientIdCountByGroup('room') === 4 && $outside->getAllClientIdCount() === 4, 5);
    check("$of: all are counted", [4, 4], [$outside->getAllClientIdCount(), $outside->getClientIdCountByGroup('room')]);
    check("$of: all of a uid", array_values($ids), sorted($outside->getClientIdByUid('u'), $ids));
    foreach ($ids as $name => $id) {
        check("$of: the session of $name", ['name' => $name, 'list' => ['中', 1.5]], $outside->getSession($id));
        check("$of: $name is online", 1, $outside->isOnline($id));
        $outside->sendToClient($id, "to $name");
        check("$of: to $name", "to $name", $clients[$name]->next());
    }
    foreach ([['sendToAll', 'to all'], ['sendToGroup', 'room', 'to a group'], ['sendToUid', 'u', 'to a uid']] as $call) {
        $outside->{$call[0]}(...array_slice($call, 1));
        check("$of: $call[0] from a back end", $each([end($call)]), heard($clients, ''));
    }
    foreach (['ours, php', 'theirs 1'] as $from) {
        foreach (['all hello', 'group room hello', 'uid u hello'] as $what) {
            $clients[$from]->send($what);
            check("$of: a PHP worker, on request of $from: $what", $each(['hello']), heard($clients, ''));
        }
    }
    $near = ['ours, php' => $clients['ours, php'], 'ours, rust' => $clients['ours, rust']];
    foreach (['all near', 'group room near', 'uid u near'] as $what) {
        $clients['ours, rust']->send($what);
        check("$of: a Rust worker reaches our gateway: $what", array_fill_keys(array_keys($near), ['near']), heard($near, ''));
    }
    check("$of: and no message arrives twice", $each([]), array_map(fn (Client $client) => $client->drain(), $clients));
    // It retries unusable gateways every 20 seconds.
    while (microtime(true) - $began < 23) {
        usleep(100000);
        $clients['ours, rust']->drain();
    }
    $address = "127.0.0.1:{$inner['php']}";
    $lines = array_filter(file($rust->log), fn (string $line) => str_contains($line, $address));
    check("$of: a Rust worker logs once that it cannot link to the PHP gateway", 1, count($lines));
    check("$of: and the reason", true, str_contains(implode($lines), 'WARN') && str_contains(implode($lines), 'cannot link'));
    echo '  ', preg_replace(['/\e\[[0-9;]*m/', '/127\.0\.0\.1:\d+/', '/^\S+ +/'], ['', 'ADDRESS', ''], trim(implode($lines))), "\n";
    kill($rust);
    check("$of: its clients are reassigned to the PHP worker", $each('php'), kinds($clients));
    check("$of: with their sessions", ['name' => 'ours, rust', 'list' => ['中', 1.5]], session($clients['ours, rust']));
    foreach (array_reverse([...$started, $php]) as $process) {
        $process->stop();
    }
}

finish("both kinds ($php)");
