<?php
// The inner port and the register, byte for byte as PHP programs use them.
//
//   php wire.php REGISTER SECRET CLIENT_PORT
//
// Requires one gateway without other workers and without clients.

declare(strict_types=1);
require __DIR__ . '/lib.php';

[, $register, $secret, $port] = $argv;
$inner = gateways($register, $secret)[0];
$listener = "127.0.0.1:$port";

// --- register protocol ------------------------------------------------------------------------

$line = json_encode(['event' => 'worker_connect', 'secret_key' => $secret]) . "\n";
// The message has further fields for our own processes, which PHP ignores.
$list = ['event' => 'broadcast_addresses', 'addresses' => [$inner]];
$read = fn ($stream) => array_slice(json_decode((string) fgets($stream), true) ?? [], 0, 2);
$stream = dial($register);
write_all($stream, '{"event":"ping"}' . "\n" . $line);
check('register: a worker receives the list, and a ping has no reply', $list, $read($stream));
write_all($stream, rtrim($line) . "\r\n");
check('register: a repeated worker_connect receives the list again, also with CRLF', $list, $read($stream));
$newcomer = dial($register);
write_all($newcomer, '{"event":"gateway_connect", "address":"127.0.0.1:9", "secret_key":"' . $secret . "\"}\n");
$both = json_decode((string) fgets($stream), true);
check('register: a new gateway is announced to workers', [$inner, '127.0.0.1:9'], $both['addresses'] ?? null);
fclose($newcomer);
check('register: a disconnected gateway is announced to workers', $list, $read($stream));
foreach (['wrong' => '{"event":"worker_connect","secret_key":"no"}', 'none' => '{"event":"worker_connect"}',
    'of a gateway' => '{"event":"gateway_connect", "address":"127.0.0.1:9", "secret_key":"no"}'] as $which => $bad) {
    if ($secret === '' && $which === 'none') {
        continue;
    }
    $peer = dial($register);
    write_all($peer, "$bad\n");
    check("register: a secret that is $which closes without a reply", true, closes($peer));
}
foreach (['hello', '{}', '[]', '123', '', '{"event":0}'] as $bad) {
    $peer = dial($register);
    write_all($peer, "$bad\n");
    $answer = (string) fgets($peer);
    check("register: a bad request has an error reply: $bad", true, str_starts_with($answer, 'Bad request for Register service.'));
    check("register: a bad request closes: $bad", true, closes($peer));
}

// --- authentication ---------------------------------------------------------------------------

if ($secret !== '') {
    foreach ([SEND_TO_ALL, IS_ONLINE, JOIN, SELECT, PING, GET_SESSION, 99] as $command) {
        $peer = dial($inner);
        write_all($peer, frame($command));
        check("a command $command before the secret closes without a reply", true, closes($peer));
    }
    foreach (['{"secret_key":"no"}', '{"secret_key":1}', '{}', 'no JSON', ''] as $body) {
        $peer = dial($inner);
        write_all($peer, frame(CLIENT_HELLO, body: $body));
        check("a hello with $body closes without a reply", true, closes($peer));
    }
    $peer = dial($inner);
    write_all($peer, hello($secret) . hello('wrong'));
    check('a wrong hello after a right one closes', true, closes($peer));
    $peer = dial($inner);
    write_all($peer, worker_hello('stranger:0', 'wrong'));
    check('a worker with a wrong secret is closed', true, closes($peer));
} else {
    check('no secret: a query needs no hello', 'i:0;', ask(dial($inner), COUNT_BY_GROUP));
}
foreach ([1, 27, 10 * 1024 * 1024 + 1, 0xFFFFFFFF] as $length) {
    $peer = dial($inner);
    write_all($peer, ($secret === '' ? '' : hello($secret)) . pack('N', $length) . str_repeat("\0", 24));
    check("a frame of $length bytes closes", true, closes($peer));
}

// --- events -----------------------------------------------------------------------------------

[$ip, $inner_port] = explode(':', $inner);
$worker = dial($inner);
write_all($worker, worker_hello('wire:0', $secret));
check('a query on a worker link is answered there', 'i:0;', ask($worker, COUNT_BY_GROUP));

$client = new Client($listener);
$event = event($worker);
$id = $event['connection'] ?? 0;
$fields = fn (int $command, string $body = '', string $ext = '', int $flag = 1) => [
    'length' => 28 + strlen($body) + strlen($ext), 'command' => $command, 'ip' => ip2long($ip), 'port' => (int) $inner_port,
    'client_ip' => ip2long('127.0.0.1'), 'client_port' => $client->port(), 'connection' => $id, 'flag' => $flag,
    'gateway_port' => (int) $port, 'ext' => $ext, 'body' => $body];
check('ON_CONNECT is sent when a connection is accepted', $fields(ON_CONNECT), $event);
write_all($worker, frame(SEND_TO_ONE, $id, body: 'early'));
check('a client counts before its handshake', 'i:1;', ask($worker, COUNT_BY_GROUP));
$client->shake('/chat?a%5Bb%5D=1&b[]=x&10=y&c.d=%20z+z', ['Cookie: one=1; two=a%20b;three', 'X-Two: 1', 'X-Two: 2']);
$handshake = ['get' => ['a' => ['b' => '1'], 'b' => ['x'], 10 => 'y', 'c_d' => ' z z'],
    'server' => ['QUERY_STRING' => 'a%5Bb%5D=1&b[]=x&10=y&c.d=%20z+z', 'REQUEST_METHOD' => 'GET',
        'REQUEST_URI' => '/chat?a%5Bb%5D=1&b[]=x&10=y&c.d=%20z+z', 'SERVER_PROTOCOL' => 'HTTP/1.1',
        'SERVER_NAME' => 'example.test:80', 'CONTENT_TYPE' => null, 'REMOTE_ADDR' => '127.0.0.1',
        'REMOTE_PORT' => $client->port(), 'SERVER_PORT' => (int) $port, 'HTTP_HOST' => 'example.test:80',
        'HTTP_UPGRADE' => 'websocket', 'HTTP_CONNECTION' => 'Upgrade',
        'HTTP_SEC_WEBSOCKET_KEY' => 'dGhlIHNhbXBsZSBub25jZQ==', 'HTTP_SEC_WEBSOCKET_VERSION' => '13',
        'HTTP_COOKIE' => 'one=1; two=a%20b;three', 'HTTP_X_TWO' => '1,2'],
    'cookie' => ['one' => '1', 'two' => 'a%20b']];
check('ON_WEBSOCKET_CONNECT', $fields(ON_WEBSOCKET_CONNECT, serialize($handshake), '', 0), event($worker));
check('a message sent with the handshake is delivered after it', 'early', $client->next());
foreach (['hi', '', "\0\1\377", str_repeat('0123456789', 30000)] as $message) {
    $client->send($message, 2);
    check('ON_MESSAGE of ' . strlen($message) . ' bytes', $fields(ON_MESSAGE, $message), event($worker));
}
// --- queries without clients ------------------------------------------------------------------

$link = dial($inner);
if ($secret !== '') {
    write_all($link, hello($secret));
}
$rows = fn (array $fields) => [SELECT, 0, json_encode(['fields' => $fields, 'where' => []])];
$questions = [
    'online' => [[IS_ONLINE, $id], 'i:1;'], 'offline' => [[IS_ONLINE, $id + 999], 'i:0;'],
    'no session' => [[GET_SESSION, $id], 'a:0:{}'], 'session of nobody' => [[GET_SESSION, $id + 999], 'N;'],
    'uid of nobody' => [[BY_UID, 0, 'zzz'], 'a:0:{}'], 'empty uid' => [[BY_UID, 0, ''], 'a:0:{}'],
    'no groups' => [[GROUP_LIST], 'a:0:{}'], 'count all' => [[COUNT_BY_GROUP], 'i:1;'],
    'count of no group' => [[COUNT_BY_GROUP, 0, 'nope'], 'i:0;'],
    'sessions of no group' => [[SESSIONS_BY_GROUP, 0, 'nope'], 'a:0:{}'],
    'sessions' => [[ALL_SESSIONS], "a:1:{i:$id;s:0:\"\";}"],
    'uids' => [$rows(['uid']), "a:1:{i:$id;a:1:{s:3:\"uid\";N;}}"],
    'bad select' => [[SELECT, 0, 'nope'], 'a:0:{}'],
    'select by what there is not' => [[SELECT, 0, '{"fields":["uid"],"where":{"foo":["1"]}}'], 'a:0:{}'],
    'batch of nothing' => [[BATCH_BY_UID, 0, '[]'], 'a:0:{}'], 'bad batch' => [[BATCH_BY_UID, 0, 'nope'], 'a:0:{}'],
    'bad batch of groups' => [[BATCH_COUNT, 0, 'nope'], 'a:0:{}'],
];
foreach ($questions as $what => [$question, $answer]) {
    check($what, $answer, ask($link, ...$question));
}
$all = '';
foreach ($questions as [$question]) {
    $all .= ($secret === '' ? '' : hello($secret)) . frame(...$question);
}
write_all($link, $all);
foreach ($questions as $what => [, $answer]) {
    check("$what, in a row", $answer, reply($link));
}
foreach (str_split($all, 7) as $piece) {
    write_all($link, $piece);
}
foreach ($questions as $what => [, $answer]) {
    check("$what, in small pieces", $answer, reply($link));
}

// --- sessions ---------------------------------------------------------------------------------

$tell = function (int $command, string $ext = '', string $body = '', int $to = 0, int $flag = 1) use (&$link): void {
    write_all($link, frame($command, $to, $ext, $body, $flag));
};
$tell(SET_SESSION, 'a:1:{s:1:"k";i:1;}', to: $id);
check('a session', 'a:1:{s:1:"k";i:1;}', ask($link, GET_SESSION, $id));
$tell(UPDATE_SESSION, 'a:2:{s:1:"n";a:1:{i:0;s:1:"x";}s:1:"k";d:0.1;}', to: $id);
check('a merge', 'a:2:{s:1:"k";d:0.1;s:1:"n";a:1:{i:0;s:1:"x";}}', ask($link, GET_SESSION, $id));
$tell(UPDATE_SESSION, 'a:1:{s:1:"n";a:2:{i:0;s:1:"z";i:1;s:1:"y";}}', to: $id);
$session = 'a:2:{s:1:"k";d:0.1;s:1:"n";a:2:{i:0;s:1:"z";i:1;s:1:"y";}}';
check('a merge within', $session, ask($link, GET_SESSION, $id));
foreach (['nonsense', 'i:5;', 'a:1:{', 'b:1;', 'O:1:"x":1:{'] as $bad) {
    $tell(UPDATE_SESSION, $bad, to: $id);
    check("a merge with $bad costs at most its own connection", true, in_array(ask_again(), ['i:1;', null], true));
    $link = dial_in();
    $still = ask($link, GET_SESSION, $id);
    check("a merge with $bad changes nothing", $session, $still);
}
function ask_again(): ?string
{
    global $link;
    try {
        return ask($link, COUNT_BY_GROUP);
    } catch (RuntimeException) {
        return null;
    }
}
function dial_in()
{
    global $inner, $secret;
    $stream = dial($inner);
    if ($secret !== '') {
        write_all($stream, hello($secret));
    }
    return $stream;
}
$link = dial_in();
$client->send('with a session');
check('events carry the session', $fields(ON_MESSAGE, 'with a session', $session), event($worker));

// --- uids and groups --------------------------------------------------------------------------

$tell(BIND_UID, '123', to: $id);
check('a uid', "a:1:{i:0;i:$id;}", ask($link, BY_UID, 0, '123'));
foreach (['55', 'room-a', '007', '-5', '', '0'] as $group) {
    $tell(JOIN, $group, to: $id);
}
$length = strlen($session);
$map = 'a:4:{i:55;s:2:"55";s:6:"room-a";s:6:"room-a";s:3:"007";s:3:"007";i:-5;s:2:"-5";}';
$row = "a:1:{i:$id;a:1:{s:3:\"uid\";s:3:\"123\";}}";
$where = fn (array $where) => json_encode(['fields' => ['uid'], 'where' => $where]);
foreach ([
    'groups' => [[GROUP_LIST], 'a:4:{i:0;i:55;i:1;s:6:"room-a";i:2;s:3:"007";i:3;i:-5;}'],
    'count of a group' => [[COUNT_BY_GROUP, 0, '55'], 'i:1;'],
    'sessions of a group' => [[SESSIONS_BY_GROUP, 0, '55'], "a:1:{i:$id;s:$length:\"$session\";}"],
    'all sessions' => [[ALL_SESSIONS], "a:1:{i:$id;s:$length:\"$session\";}"],
    'all uids' => [$rows(['uid']), $row],
    'all there is' => [$rows(['session', 'uid', 'groups']),
        "a:1:{i:$id;a:3:{s:7:\"session\";s:$length:\"$session\";s:3:\"uid\";s:3:\"123\";s:6:\"groups\";$map}}"],
    'by groups' => [[SELECT, 0, $where(['groups' => ['55', 'room-a']])], $row],
    'by a group of digits' => [[SELECT, 0, $where(['groups' => [55]])], $row],
    'by uid' => [[SELECT, 0, $where(['uid' => ['123']])], $row],
    'by connection' => [[SELECT, 0, $where(['connection_id' => [$id => $id]])], $row],
    'several uids' => [[BATCH_BY_UID, 0, '["123",123,"zzz"]'], "a:2:{i:123;a:1:{i:0;i:$id;}s:3:\"zzz\";a:0:{}}"],
    'uids by name' => [[BATCH_BY_UID, 0, '{"a":"123","b":"q"}'], "a:2:{i:123;a:1:{i:0;i:$id;}s:1:\"q\";a:0:{}}"],
    'several groups' => [[BATCH_COUNT, 0, '["55",55,"room-a","nope"]'], 'a:3:{i:55;i:1;s:6:"room-a";i:1;s:4:"nope";i:0;}'],
] as $what => [$question, $answer]) {
    check($what, $answer, ask($link, ...$question));
}

// --- messages ---------------------------------------------------------------------------------

$sent = [
    'to one' => [[SEND_TO_ONE, '', 'hello', $id], [[0x81, 'hello']]],
    'to one, raw' => [[SEND_TO_ONE, '', "\x81\x02ab", $id, 3], [[0x81, 'ab']]],
    'an array' => [[SEND_TO_ONE, '', 'a:2:{s:1:"a";i:1;s:1:"b";s:3:"中";}', $id, 0], [[0x81, '{"a":1,"b":"中"}']]],
    'null' => [[SEND_TO_ONE, '', 'N;', $id, 0], [[0x81, 'null']]],
    'nothing' => [[SEND_TO_ONE, '', '', $id], [[0x81, '']]],
    'to nobody' => [[SEND_TO_ONE, '', 'lost', $id + 999], []],
    'to a uid named twice' => [[SEND_TO_UID, '[123,"123"]', 'u'], [[0x81, 'u'], [0x81, 'u']]],
    'to uids by name' => [[SEND_TO_UID, '{"x":"123"}', 'u'], [[0x81, 'u']]],
    'to nested uids' => [[SEND_TO_UID, '[["123"]]', 'u'], []],
    'to no uids' => [[SEND_TO_UID, '', 'u'], []],
    'to two groups' => [[SEND_TO_GROUP, '{"group":["55","room-a"],"exclude":null}', 'g'], [[0x81, 'g'], [0x81, 'g']]],
    'to a group without one' => [[SEND_TO_GROUP, '{"group":["55"],"exclude":{"' . $id . '":' . $id . '}}', 'g'], []],
    'to all' => [[SEND_TO_ALL, '', 'all'], [[0x81, 'all']]],
    'to all, by a bad list' => [[SEND_TO_ALL, 'zzz', 'all'], [[0x81, 'all']]],
    'to some of all' => [[SEND_TO_ALL, '{"connections":{"' . $id . '":' . $id . '}}', 'some'], [[0x81, 'some']]],
    'to others' => [[SEND_TO_ALL, '{"exclude":{"' . $id . '":' . $id . '}}', 'others'], []],
    '300 kB' => [[SEND_TO_ONE, '', str_repeat('x', 300000), $id], [[0x81, str_repeat('x', 300000)]]],
];
foreach ($sent as $what => [$command, $frames]) {
    $tell(...$command);
    ask($link, COUNT_BY_GROUP);
    $client->send('now', 9);
    $found = [];
    while (($frame = $client->frame()) !== null && $frame !== [0x8A, 'now']) {
        $found[] = $frame;
    }
    check("a message $what", $frames, $found);
}
foreach ([[PING, 'ping'], [99, 'a command that there is not'], [0, 'zero']] as [$command, $what]) {
    $tell($command);
    check("$what is ignored", 'i:1;', ask($link, COUNT_BY_GROUP));
}

// --- one connection per command, as in web requests -------------------------------------------

$once = function (string ...$frames): void {
    $stream = dial_in();
    write_all($stream, implode('', $frames));
    fclose($stream);
};
for ($n = 0; $n < 50; $n++) {
    $once(frame(SEND_TO_ONE, $id, body: "n$n"));
}
for ($n = 0; $n < 50; $n++) {
    check('a command of a connection that is closed at once', "n$n", $client->next());
}
$half = dial_in();
write_all($half, frame(COUNT_BY_GROUP));
stream_socket_shutdown($half, STREAM_SHUT_WR);
check('a half-closed connection receives its reply', 'i:1;', reply($half));
check('and is closed after it', true, closes($half));

// --- disconnecting ----------------------------------------------------------------------------

$tell(BIND_UID, '456', to: $id);
check('a uid replaces the previous one', 'a:0:{}', ask($link, BY_UID, 0, '123'));
$tell(UNBIND_UID, 'any', to: $id);
check('a bound uid is unbound', 'a:0:{}', ask($link, BY_UID, 0, '456'));
check('and the row has no uid', "a:1:{i:$id;a:1:{s:3:\"uid\";N;}}", ask($link, ...$rows(['uid'])));
$tell(LEAVE, '55', to: $id);
check('a client leaves a group', 'a:3:{i:0;s:6:"room-a";i:1;s:3:"007";i:2;i:-5;}', ask($link, GROUP_LIST));
$tell(UNGROUP, 'room-a');
check('a group is dissolved', 'i:0;', ask($link, COUNT_BY_GROUP, 0, 'room-a'));
$tell(KICK, '', 'bye', $id);
check('a last message before a close', [0x81, 'bye'], $client->frame());
check('ON_CLOSE', $fields(ON_CLOSE, '', $session), event($worker));
check('no client is left', 'i:0;', ask($link, COUNT_BY_GROUP));
check('no group is left', 'a:0:{}', ask($link, GROUP_LIST));
$client = new Client($listener);
$id = event($worker)['connection'] ?? 0;
fclose($client->stream);
check('ON_CLOSE without a handshake', ['command' => ON_CLOSE, 'connection' => $id], array_intersect_key(event($worker) ?? [], ['command' => 0, 'connection' => 0]));
foreach ([[KICK, 'N;', 0], [DESTROY, '', 1]] as [$command, $body, $flag]) {
    $client = (new Client($listener))->shake();
    $id = event($worker)['connection'] ?? 0;
    event($worker);
    $tell($command, '', $body, $id, $flag);
    check("command $command closes", ON_CLOSE, event($worker)['command'] ?? null);
}

// --- stricter than the original ---------------------------------------------------------------

$client = (new Client($listener))->shake();
event($worker);
event($worker);
$client->send("not \xff UTF-8");
check('invalid UTF-8 in a text closes only its client', [0x88, "\x03\xEF"], $client->frame());
check('and the worker receives its close', ON_CLOSE, event($worker)['command'] ?? null);

// --- a worker with the same name --------------------------------------------------------------

$second = dial($inner);
write_all($second, worker_hello('wire:0', $secret));
check('the newer of two workers with the same name is kept', 'i:0;', ask($second, COUNT_BY_GROUP));
check('and the older is closed', true, closes($worker));
$client = (new Client($listener))->shake();
check('events go to the newer', ON_CONNECT, event($second)['command'] ?? null);
finish('wire');
