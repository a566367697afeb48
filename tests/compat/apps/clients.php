<?php
// Scripted clients of an application: runs steps in order and records what each client received.

declare(strict_types=1);
require __DIR__ . '/../lib.php';

final class Script
{
    public array $clients = [];
    private array $ids = [];

    public function __construct(private readonly string $port)
    {
    }

    public function join(string $name): void
    {
        $this->clients[$name] = (new Client("127.0.0.1:$this->port"))->shake('/', ['Origin: http://127.0.0.1']);
    }

    // Runs a step, waits for its effect, and records what was received.
    public function step(string $what, callable|string|array $action, string $sender = ''): void
    {
        if (is_callable($action)) {
            $action();
        } else {
            foreach ((array) $action as $message) {
                $this->clients[$sender]->send($message);
            }
        }
        usleep(500000);
        $got = [];
        foreach ($this->clients as $name => $client) {
            foreach ($client->drain() as $one) {
                if ($one !== '{"type":"ping"}') {
                    $got[$name][] = is_string($one) ? $this->plain($one) : $one;
                }
            }
        }
        echo $what, "\t", json_encode(readable($got), JSON_UNESCAPED_UNICODE | JSON_UNESCAPED_SLASHES), "\n";
    }

    // Replaces ids by their order of appearance, and removes times.
    private function plain(string $text): string
    {
        $text = preg_replace('/\d{4}-\d\d-\d\d \d\d:\d\d:\d\d/', 'TIME', $text);
        $text = preg_replace_callback('/\b(7f000001[0-9a-f]{12}|1[0-9]{9})\b/', function (array $found): string {
            return $this->ids[$found[1]] ??= 'id' . (count($this->ids) + 1);
        }, $text);
        // The place of a client in a list depends on its gateway, and the original has several.
        $message = json_decode($text, true);
        if (isset($message['client_list'])) {
            ksort($message['client_list']);
            $text = json_encode($message, JSON_UNESCAPED_UNICODE);
        }
        return $text;
    }

    public function leave(string $name): void
    {
        fclose($this->clients[$name]->stream);
        unset($this->clients[$name]);
    }
}
