<?php
// The chat, with the protocol of its page.
//
//   php chat.php PORT

declare(strict_types=1);
require __DIR__ . '/clients.php';

$script = new Script($argv[1]);
$json = fn (array $message) => json_encode($message);
$login = fn (string $name, mixed $room) => $json(['type' => 'login', 'client_name' => $name, 'room_id' => $room]);
$say = fn (string $text, string $to = 'all', string $name = '') =>
    $json(['type' => 'say', 'to_client_id' => $to, 'to_client_name' => $name, 'content' => $text]);

// The list of a login maps ids to users.
$id = function (string $name) use ($script, $login): string {
    $script->clients[$name]->send($login($name, 1));
    do {
        $message = json_decode((string) $script->clients[$name]->next(), true);
    } while (!isset($message['client_list']));
    return $message['client_id'];
};
foreach (['alice', 'bob', 'carol'] as $name) {
    $script->step("$name connects", fn () => $script->join($name));
}
$script->step('messages before the login', ['{"type":"pong"}', 'no JSON', '{"type":"unknown"}', ''], 'alice');
$script->step('alice enters room 1', $login('alice', 1), 'alice');
$script->step('bob enters room 1', $login('bob', 1), 'bob');
$script->step('carol enters room 2', $login('<b>carol</b> & "co"', 2), 'carol');
$script->step('alice speaks to her room', $say('hello everybody'), 'alice');
$script->step('carol speaks to hers', $say('nobody here?'), 'carol');
$script->step('markup', $say("<script>alert(1)</script> & \"quoted\"\nnext line"), 'bob');
$script->step('other alphabets', $say('中文 räume 🐸'), 'alice');
$script->step('nothing', $say(''), 'alice');
$bob = '';
$script->step('bob enters again', function () use (&$bob, $id): void {
    $bob = $id('bob');
}, 'bob');
$script->step('alice to bob alone', $say('a <i>secret</i>', $bob, 'bob <3'), 'alice');
$script->step('alice to nobody that there is', $say('lost', '7f00000108fc0fffffff', 'nobody'), 'alice');
$script->step('many at once', array_map(fn (int $n) => $say("line $n"), range(1, 100)), 'alice');
$script->step('a long one', $say(str_repeat('long ', 10000)), 'bob');
$script->step('carol enters room 1 too', $login('carol', 1), 'carol');
$script->step('and is heard there', $say('here now'), 'carol');
$script->step('bob leaves', fn () => $script->leave('bob'));
$script->step('alice speaks on', $say('still here'), 'alice');
$script->step('dave connects', fn () => $script->join('dave'));
$script->step('dave enters', $login('dave', 1), 'dave');
$script->step('alice leaves', fn () => $script->leave('alice'));
$script->step('carol leaves', fn () => $script->leave('carol'));
$script->step('dave leaves', fn () => $script->leave('dave'));
