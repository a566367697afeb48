<?php
// The app of the PHP worker; crates/worker/examples/compat.rs is the same in Rust.

declare(strict_types=1);

use GatewayWorker\Lib\Gateway;

// Values that only PHP can represent.
final class Thing
{
    private int $number = 42;
    protected array $list = ['中', "b\0\xff", 0.5];
    public ?Thing $self = null;

    public function isWhole(): bool
    {
        return $this->number === 42 && $this->list === ['中', "b\0\xff", 0.5] && $this->self === $this;
    }
}

final class Events
{
    public static function onMessage($client, $message): void
    {
        [$verb, $rest] = explode(' ', $message, 2) + [1 => ''];
        [$name, $words] = explode(' ', $rest, 2) + [1 => ''];
        $answer = 'done';
        switch ($verb) {
            case 'set':
                $_SESSION = json_decode($rest, true);
                break;
            case 'update':
                $_SESSION = array_replace_recursive($_SESSION ?? [], json_decode($rest, true));
                break;
            case 'session':
                $answer = json_encode($_SESSION ?: new stdClass(), JSON_UNESCAPED_UNICODE | JSON_PRESERVE_ZERO_FRACTION);
                break;
            case 'keep':
                $thing = new Thing();
                $thing->self = $thing;
                $_SESSION = ['thing' => $thing, 'same' => $thing, 'date' => new DateTimeImmutable('2020-01-02 03:04:05 UTC'), 'n' => 1];
                break;
            case 'kept':
                $answer = ($_SESSION['thing'] ?? null) instanceof Thing && $_SESSION['thing']->isWhole() &&
                    $_SESSION['same'] === $_SESSION['thing'] &&
                    ($_SESSION['date'] ?? null) == new DateTimeImmutable('2020-01-02 03:04:05 UTC') ? 'whole' : 'broken';
                break;
            case 'join':
                Gateway::joinGroup($client, $rest);
                break;
            case 'bind':
                Gateway::bindUid($client, $rest);
                break;
            case 'all':
                Gateway::sendToAll($rest);
                return;
            case 'group':
                Gateway::sendToGroup($name, $words);
                return;
            case 'uid':
                Gateway::sendToUid($name, $words);
                return;
            case 'who':
                $answer = 'php ' . getmypid() . " $client";
                break;
            case 'count':
                $answer = "n $name " . Gateway::getClientIdCountByGroup('room');
                break;
            case 'n':
                $answer = "n $name";
                break;
            default:
                $answer = $message;
        }
        Gateway::sendToClient($client, $answer);
    }
}
