<?php
// Cases in which clients observe an intended difference to the original, except in strict mode:
// invalid frames, close frames, and no worker. Appends its steps to a transcript.
//
//   php letter.php PORT WORKER_PID TRANSCRIPT

declare(strict_types=1);
require __DIR__ . '/../lib.php';

[, $port, $worker, $transcript] = $argv;

function note(string $step, mixed $result): void
{
    global $transcript;
    file_put_contents($transcript, "letter: $step\t" . json_encode(readable($result)) . "\n", FILE_APPEND);
}

// A client that has received the greeting of its worker.
function client(): Client
{
    global $port;
    $client = (new Client("127.0.0.1:$port"))->shake();
    $client->next();
    return $client;
}

// All frames until the end, as first byte and payload.
function up_to_the_end(Client $client): array
{
    $all = [];
    while (($frame = $client->frame()) !== null) {
        $all[] = [dechex($frame[0]), bin2hex($frame[1])];
    }
    $all[] = stream_get_meta_data($client->stream)['timed_out'] ? 'still open' : 'closed';
    return $all;
}

foreach (['with 1001' => "\x03\xe9", 'without a code' => ''] as $how => $payload) {
    $client = client();
    $client->send($payload, 8);
    note("a client that closes $how", up_to_the_end($client));
}
$call = fn (string $text): string => 'do ' . serialize(['sendToCurrentClient', [$text]]);
foreach (['a text message' => 1, 'a binary message' => 2] as $what => $opcode) {
    $client = client();
    $client->send($call("no text: \xff"), $opcode);
    $frame = $client->frame();
    note("$what that asks for what is no text", $frame === null ? null : [dechex($frame[0]), bin2hex($frame[1])]);
}
foreach (['without a mask' => "\x81\x02hi\0\0\0\0", 'that is too large' => "\x82\xff" . pack('J', 11 << 20) . "\0\0\0\0",
    'with a reserved opcode' => "\x83\x80\0\0\0\0"] as $what => $bytes) {
    $client = client();
    write_all($client->stream, $bytes);
    note("a frame $what", up_to_the_end($client));
}

$early = client();
posix_kill((int) $worker, SIGTERM);
for ($tries = 0; $tries < 200 && !str_contains((string) @file_get_contents("/proc/$worker/stat"), ') Z '); $tries++) {
    usleep(50000);
}
usleep(300000);
stream_set_timeout($early->stream, 1);
$early->send('is somebody there?');
note('a message without a worker', up_to_the_end($early));
try {
    $late = new Client("127.0.0.1:$port");
    stream_set_timeout($late->stream, 1);
    $late->shake();
    note('a client without a worker', up_to_the_end($late));
} catch (RuntimeException $error) {
    note('a client without a worker', $error->getMessage());
}
