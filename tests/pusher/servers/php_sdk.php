<?php
// The stand-in for PHP's server SDK against the suite: what Laravel's broadcaster calls.

require __DIR__ . '/../php/Pusher.php';

use Pusher\ApiErrorException;
use Pusher\Pusher;

$options = ['host' => '127.0.0.1', 'port' => getenv('PUSHER_HTTP_PORT'), 'scheme' => 'http'];
$pusher = new Pusher(getenv('PUSHER_KEY'), getenv('PUSHER_SECRET'), '1', $options);

function same($expected, $found, string $what): void
{
    if (json_encode($expected) !== json_encode($found)) {
        fwrite(STDERR, "$what: " . json_encode($found) . ' instead of ' . json_encode($expected) . "\n");
        exit(1);
    }
    echo "ok: $what\n";
}

// A subscriber: subscriber.mjs, whose lines are messages.
function subscribe(string ...$channels): array
{
    $command = array_merge(['node', getenv('SUBSCRIBER') . '/subscriber.mjs'], $channels);
    $process = proc_open($command, [1 => ['pipe', 'w']], $pipes);
    return [$pipes[1], received($pipes[1], 'ready')['socket_id'], $process];
}

function received($stream, string $event): array
{
    while (($line = fgets($stream)) !== false) {
        $message = json_decode($line, true);
        if ($message['event'] === $event) {
            return $message;
        }
    }
    fwrite(STDERR, "no $event\n");
    exit(1);
}

// The options of docs/pusher.md, as they are written there.
preg_match('/^\| PHP \| `(.*)` \|$/m', file_get_contents(getenv('PUSHER_DOCUMENT')), $row);
[$key, $secret, $id] = [getenv('PUSHER_KEY'), getenv('PUSHER_SECRET'), '1'];
$documented = eval('return ' . str_replace('8080', getenv('PUSHER_HTTP_PORT'), $row[1]) . ';');
same(new stdClass(), $documented->trigger('a', 'e', []), 'documented options');

[$stream, $socketId, $first] = subscribe('php', 'private-php');
same(new stdClass(), $pusher->trigger('php', 'e', ['x' => 1]), 'one channel');
same('{"x":1}', received($stream, 'e')['data'], 'its event');
$pusher->trigger(['php', 'private-php'], 'e', ['x' => 2], ['socket_id' => $socketId]);
$pusher->trigger(['php', 'other'], 'last', ['x' => 3]);
same('{"x":3}', received($stream, 'last')['data'], 'excluded from the event before');
$info = $pusher->trigger(['php', 'other'], 'e', [], ['info' => 'subscription_count']);
same(['php' => ['subscription_count' => 1], 'other' => ['subscription_count' => 0]], $info->channels, 'info');
same(new stdClass(), $pusher->triggerBatch([['channel' => 'php', 'name' => 'b', 'data' => 1]]), 'a batch');
same('1', received($stream, 'b')['data'], 'its event');
$channels = $pusher->getChannels(['filter_by_prefix' => 'private-php']);
same(['private-php' => new stdClass()], $channels->channels, 'channels');
same(new stdClass(), $pusher->getChannels(['filter_by_prefix' => 'none'])->channels, 'no channels: an object');
$shown = $pusher->getChannelInfo('php', ['info' => ['subscription_count']]);
same(['occupied' => true, 'subscription_count' => 1], $shown, 'a channel, with a list');

[$stream, , $second] = subscribe('@php-user');
$pusher->sendToUser('php-user', 'e', 'hello');
same('"hello"', received($stream, 'e')['data'], 'an event of a user');
$pusher->terminateUserConnections('php-user');
same(4009, received($stream, 'closed')['code'], 'a terminated user');

try {
    $pusher->trigger('php', 'e', str_repeat('é', 5121), [], true);
    same('an exception', null, 'a large event');
} catch (ApiErrorException $error) {
    same(413, $error->getCode(), 'a large event');
    same(true, str_contains($error->getMessage(), 'content of this event'), 'its text');
}

$line = current(array_filter(file(getenv('WEBHOOKS')), fn ($line) => str_contains($line, 'cache-node')));
['headers' => $headers, 'body' => $body] = json_decode($line, true);
same('cache-node', $pusher->webhook($headers, $body)->events[0]->channel, 'a webhook');

proc_terminate($first);
proc_terminate($second);
