<?php
// Processes of either stack, for scripts that start, kill and replace them while clients are
// connected. Running processes are killed when the script exits.

declare(strict_types=1);
require_once __DIR__ . '/lib.php';

final class Process
{
    private static array $running = [];
    private $handle;
    public readonly int $pid;
    public readonly string $log;

    // Starts it in its own process group, with its output in a log of its name.
    public function __construct(public readonly string $name, array $command, array $settings = [])
    {
        static $count = 0;
        if (self::$running === [] && $count === 0) {
            register_shutdown_function(self::killAll(...));
        }
        $this->log = folder() . sprintf('/%02d-%s.log', ++$count, $name);
        $output = ['file', $this->log, 'a'];
        $environment = array_filter(getenv(), fn (string $key) => !str_starts_with($key, 'GW_'), ARRAY_FILTER_USE_KEY);
        $this->handle = proc_open(['setsid', ...$command], [['file', '/dev/null', 'r'], $output, $output], $pipes, null, $settings + $environment);
        $this->pid = proc_get_status($this->handle)['pid'];
        self::$running[$this->pid] = $this;
    }

    public function countInLog(string $text): int
    {
        return substr_count((string) file_get_contents($this->log), $text);
    }

    public function isRunning(): bool
    {
        return proc_get_status($this->handle)['running'];
    }

    // Stops it with a signal and waits. Returns whether it exited without being killed.
    public function stop(int $signal = SIGTERM, int $seconds = 15): bool
    {
        posix_kill($this->pid, $signal);
        $well = eventually(fn () => !$this->isRunning(), $seconds);
        $this->kill();
        return $well;
    }

    // Kills it and its child processes.
    public function kill(): void
    {
        @posix_kill(-$this->pid, SIGKILL);
        eventually(fn () => !$this->isRunning(), 5);
        unset(self::$running[$this->pid]);
    }

    public static function killAll(): void
    {
        foreach (self::$running as $process) {
            $process->kill();
        }
    }
}

// Folder of the logs.
function folder(): string
{
    return getenv('FOLDER') ?: throw new RuntimeException('FOLDER is not set');
}

function eventually(callable $is, int $seconds = 10): bool
{
    for ($until = microtime(true) + $seconds; microtime(true) < $until; usleep(20000)) {
        if ($is()) {
            return true;
        }
    }
    return false;
}

// A free port below the ephemeral range; never the same twice.
function free_port(): int
{
    static $taken = [];
    do {
        $port = random_int(20000, 31999);
        $server = isset($taken[$port]) ? false : @stream_socket_server("tcp://127.0.0.1:$port");
    } while (!$server);
    fclose($server);
    return $taken[$port] = $port;
}

// The processes of a cluster on one register, of either stack.
final class Cluster
{
    public string $register;

    public function __construct(public readonly string $secret = '')
    {
        $this->register = '127.0.0.1:' . free_port();
    }

    private function ours(string $name, string $program, string ...$flags): Process
    {
        return new Process($name, [$program, '--secret-key', $this->secret, ...$flags]);
    }

    private function php(string $role, string $name, array $settings = []): Process
    {
        return new Process($name, ['php', __DIR__ . '/original/run.php', 'start'], $settings +
            ['ROLE' => $role, 'NAME' => $name, 'FOLDER' => folder(), 'REGISTER' => $this->register, 'SECRET' => $this->secret]);
    }

    public function register(string $kind, string ...$flags): Process
    {
        return match ($kind) {
            'ours' => $this->ours('register', getenv('BIN') . '/register', '--listen', $this->register, ...$flags),
            'php' => $this->php('register', 'register-php'),
        };
    }

    public function gateway(string $kind, string $name, int $client, int $inner, string ...$flags): Process
    {
        return match ($kind) {
            'ours' => $this->ours($name, getenv('BIN') . '/gateway', '--no-web', '--threads', '2', '--connections-per-thread', '1', '--register-address', $this->register,
                '--listen', "ws://127.0.0.1:$client", '--lan-port', (string) $inner, ...$flags),
            'php' => $this->php('gateway', $name, ['CLIENT_PORT' => (string) $client, 'INNER_PORT' => (string) $inner]),
        };
    }

    // `php` is the original; `like php` a script with the same protocol.
    public function worker(string $kind, string $name): Process
    {
        return match ($kind) {
            'rust' => $this->ours($name, getenv('MEMORY'), '--name', $name, '--register-address', $this->register),
            'php' => $this->php('worker', $name, ['EVENTS_FILE' => __DIR__ . '/both/events.php']),
            'like php' => new Process($name, ['php', __DIR__ . '/both/worker.php'],
                ['NAME' => $name, 'REGISTER' => $this->register, 'SECRET' => $this->secret]),
        };
    }
}
