<?php
// Compares two transcripts step by step, except for intended differences.
//
//   php compare.php ORIGINAL OURS STACK

declare(strict_types=1);

// A table row is a pattern for step names, and a reason. The table after the heading is that of
// `--compat strict`.
[$better, $strict] = explode("\n## With `--compat strict`\n", file_get_contents(__DIR__ . '/../differences.md'));
$meant = [];
foreach (explode("\n", $argv[3] === 'strict' ? $strict : $better) as $line) {
    if (preg_match('/^\| `(.+)` \| (.+) \|$/', rtrim($line), $row)) {
        $meant[$row[1]] = $row[2];
    }
}
[$original, $ours] = array_map(fn (string $file) => file($file, FILE_IGNORE_NEW_LINES), array_slice($argv, 1, 2));
$equal = $wrong = 0;
$used = [];
for ($n = 0; $n < max(count($original), count($ours)); $n++) {
    $theirs = $original[$n] ?? "(nothing)\t";
    $mine = $ours[$n] ?? "(nothing)\t";
    if ($theirs === $mine) {
        $equal++;
        continue;
    }
    $step = strstr($theirs, "\t", true);
    foreach ($meant as $pattern => $reason) {
        if (fnmatch($pattern, $step) && $step === strstr($mine, "\t", true)) {
            $used[$pattern] = ($used[$pattern] ?? 0) + 1;
            continue 2;
        }
    }
    if (++$wrong <= 40) {
        echo 'DIFFERENT: ', substr($theirs, 0, 700), "\n     ours: ", substr($mine, 0, 700), "\n";
    }
}
echo "$equal steps equal, ", array_sum($used), " deliberate differences, $wrong others\n";
foreach ($used as $pattern => $times) {
    echo "  $pattern: $times ({$meant[$pattern]})\n";
}
exit($wrong === 0 ? 0 : 1);
