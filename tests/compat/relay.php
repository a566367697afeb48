<?php
// A TCP relay whose upstream can be changed at run time.
//
//   php relay.php LISTEN FILE [HOLD]
//
// New connections are relayed to the current address in FILE; open ones keep their upstream. With
// HOLD, every HOLD-th chunk from the dialing side is delayed by 20 ms, with everything behind it on
// the same connection, so that the order between connections is lost.

declare(strict_types=1);
require __DIR__ . '/lib.php';

[, $listen, $file] = $argv;
$hold = (int) ($argv[3] ?? 0);
$server = stream_socket_server("tcp://$listen", $code, $message, STREAM_SERVER_BIND | STREAM_SERVER_LISTEN,
    stream_context_create(['socket' => ['backlog' => 1024, 'tcp_nodelay' => true]]))
    ?: throw new RuntimeException("listening on $listen: $message");

// A way leads from one stream to another; `queue` holds chunks that are delayed or blocked.
$ways = [];
$streams = [];
$chunks = 0;
$open = function ($from, $to) use (&$ways, &$streams): void {
    foreach ([[$from, $to, true], [$to, $from, false]] as [$in, $out, $dialled]) {
        stream_set_blocking($in, false);
        stream_set_read_buffer($in, 0);
        $streams[(int) $in] = $in;
        $ways[(int) $in] = ['out' => $out, 'dialled' => $dialled, 'queue' => [], 'ended' => false];
    }
};
$close = function (int $in) use (&$ways, &$streams): void {
    foreach ([(int) $ways[$in]['out'], $in] as $end) {
        if (isset($streams[$end])) {
            fclose($streams[$end]);
            unset($streams[$end], $ways[$end]);
        }
    }
};
while (true) {
    $read = [$server];
    $write = [];
    $wait = 1000000;
    $now = microtime(true);
    foreach ($ways as $in => $way) {
        if (!$way['ended'] && count($way['queue']) < 64) {
            $read[] = $streams[$in];
        }
        if ($way['queue'] !== []) {
            $due = $way['queue'][0]['at'] - $now;
            if ($due <= 0) {
                $write[] = $way['out'];
            } else {
                $wait = min($wait, (int) ($due * 1000000) + 1);
            }
        }
    }
    $none = null;
    if (stream_select($read, $write, $none, 0, $wait) === false) {
        exit(1);
    }
    foreach ($read as $stream) {
        if ($stream === $server) {
            $from = stream_socket_accept($server, 0);
            try {
                $from && $open($from, dial(trim(file_get_contents($file))));
            } catch (RuntimeException) {
                fclose($from);
            }
            continue;
        }
        $in = (int) $stream;
        if (!isset($ways[$in])) {
            continue;
        }
        $way = &$ways[$in];
        $bytes = @fread($stream, 65536);
        // A read error is forwarded as the end of the stream.
        $ended = $bytes === false || ($bytes === '' && feof($stream));
        if ($ended || $bytes !== '') {
            $last = $way['queue'] === [] ? 0 : end($way['queue'])['at'];
            $held = $hold > 0 && $way['dialled'] && !$ended && ++$chunks % $hold === 0;
            $way['queue'][] = ['at' => max($last, microtime(true) + ($held ? 0.02 : 0)), 'bytes' => $ended ? null : $bytes];
            $way['ended'] = $ended;
        }
        unset($way);
    }
    $now = microtime(true);
    foreach (array_keys($ways) as $in) {
        while (isset($ways[$in]) && $ways[$in]['queue'] !== [] && $ways[$in]['queue'][0]['at'] <= $now) {
            $bytes = $ways[$in]['queue'][0]['bytes'];
            if ($bytes === null) {
                // Closes both once both directions have ended, or if the other is closed.
                $back = (int) $ways[$in]['out'];
                array_shift($ways[$in]['queue']);
                @stream_socket_shutdown($ways[$in]['out'], STREAM_SHUT_WR);
                if (!isset($ways[$back]) || ($ways[$back]['ended'] && $ways[$back]['queue'] === [])) {
                    $close($in);
                }
                break;
            }
            $written = @fwrite($ways[$in]['out'], $bytes);
            if ($written === false) {
                $close($in);
                break;
            }
            if ($written < strlen($bytes)) {
                $ways[$in]['queue'][0]['bytes'] = substr($bytes, $written);
                break;
            }
            array_shift($ways[$in]['queue']);
        }
    }
}
