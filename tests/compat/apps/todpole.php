<?php
// The tadpoles, with the protocol of their page. Ids are seconds, so clients connect in turn.
//
//   php todpole.php PORT

declare(strict_types=1);
require __DIR__ . '/clients.php';

$script = new Script($argv[1]);
$update = fn (float $x, float $y, ?string $name = null) => json_encode(['type' => 'update', 'x' => $x, 'y' => $y,
    'angle' => 1.25, 'momentum' => 0.5] + ($name === null ? [] : ['name' => $name]));
foreach (['ann', 'ben', 'cyn'] as $name) {
    sleep(1);
    $script->step("$name comes", fn () => $script->join($name));
}
$script->step('ann logs in', '{"type":"login"}', 'ann');
$script->step('ann moves', $update(1.5, -2.25), 'ann');
$script->step('ben moves, with a name', $update(10, 20, 'Ben <b>'), 'ben');
$script->step('numbers as text', '{"type":"update","x":"3","y":"4.5","angle":"0","momentum":"1e2","name":"Cyn"}', 'cyn');
$script->step('ann speaks', '{"type":"message","message":"hello"}', 'ann');
$script->step('other alphabets', json_encode(['type' => 'message', 'message' => '中文 🐸 <script>']), 'ben');
$script->step('no sense', ['no JSON', '{"type":"authorize","token":"t"}', '{}', ''], 'cyn');
$script->step('many moves', array_map(fn (int $n) => $update($n, $n * 2), range(1, 200)), 'ann');
$script->step('all speak', function () use ($script): void {
    $script->clients['ann']->send('{"type":"message","message":"one"}');
    usleep(50000);
    $script->clients['ben']->send('{"type":"message","message":"two"}');
    usleep(50000);
    $script->clients['cyn']->send('{"type":"message","message":"three"}');
});
$script->step('ben leaves', fn () => $script->leave('ben'));
$script->step('ann moves on', $update(-1, -1, 'Ann'), 'ann');
sleep(1);
$script->step('dan comes', fn () => $script->join('dan'));
$script->step('dan moves', $update(7, 7), 'dan');
$script->step('ann leaves', fn () => $script->leave('ann'));
$script->step('cyn leaves', fn () => $script->leave('cyn'));
