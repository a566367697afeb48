<?php
// PHP's side of the differential tests. Input: lines of an operation and its arguments in base64.
// Output: a line for each, `+` and the result in base64, or `-` if PHP fails.

ini_set('memory_limit', '1G');
error_reporting(0);

enum Suit: string
{
    case Hearts = 'H';
    case Spades = 'S';
}

class Person
{
    public $name = 'ann';
    protected $age = 7;
    private $secret = null;

    public function keep(&$value)
    {
        $this->secret = &$value;
        return $this;
    }
}

/** A random value. References and objects are reused elsewhere; no value contains itself. */
class RandomValues
{
    private array $earlier = [];

    public function __construct(private bool $cases)
    {
    }

    public function value(int $depth)
    {
        switch (mt_rand(0, $depth < 1 ? 8 : 12)) {
            case 0: return null;
            case 1: return (bool) mt_rand(0, 1);
            case 2: return mt_rand(-5, 200);
            case 3: return [PHP_INT_MAX, PHP_INT_MIN, 0, -1][mt_rand(0, 3)];
            case 4: return mt_rand(-1000, 1000) / 8;
            case 5: return mt_rand() / mt_getrandmax() * 10 ** mt_rand(-12, 25);
            case 6: return [NAN, INF, -INF, -0.0, 1e100, 0.1 + 0.2, 1e15, 1e22][mt_rand(0, 7)];
            case 7: return random_text();
            case 8: return [...$this->cases ? Suit::cases() : ['', 'a'], 'text', '5', ''][mt_rand(0, 4)];
            case 9:
                $object = mt_rand(0, 1) ? new stdClass : new Person;
                if ($object instanceof Person) {
                    $object->keep($this->slot($depth));
                } else {
                    foreach (range(0, mt_rand(0, 2)) as $at) {
                        $object->{'p' . mt_rand(0, 9)} = &$this->slot($depth);
                    }
                }
                return $object;
            default:
                return $this->array($depth);
        }
    }

    public function array(int $depth): array
    {
        $array = [];
        for ($left = mt_rand(0, 4); $left > 0; $left--) {
            $slot = &$this->slot($depth);
            switch (mt_rand(0, 3)) {
                case 0: $array[] = &$slot; break;
                case 1: $array[mt_rand(-2, 3)] = &$slot; break;
                default: $array['abc'[mt_rand(0, 2)]] = &$slot;
            }
            unset($slot);
        }
        return $array;
    }

    /** A new variable, an earlier one, or a copy of an earlier one. */
    private function &slot(int $depth)
    {
        $earlier = $this->earlier ? mt_rand(0, count($this->earlier) - 1) : null;
        switch ($earlier === null ? 5 : mt_rand(0, 5)) {
            case 0:
                return $this->earlier[$earlier];
            case 1:
                $copy = $this->earlier[$earlier];
                return $copy;
            default:
                $value = $this->value($depth - 1);
                if (mt_rand(0, 1)) {
                    $this->earlier[] = &$value;
                }
                return $value;
        }
    }
}

function random_text(): string
{
    $pieces = ['a', 'b', '5', '-', ' ', '.', '/', '"', '\\', "\0", "\n", "\xff", 'ä', '中', '😀', '{', '}', ';', ':'];
    $text = '';
    for ($left = mt_rand(0, 6); $left > 0; $left--) {
        $text .= $pieces[array_rand($pieces)];
    }
    return $text;
}

function same(string $text)
{
    $value = unserialize($text);
    return $value === false && !str_starts_with($text, 'b:0;') ? null : serialize($value);
}

function run(string $operation, array $arguments): ?string
{
    $first = $arguments[0] ?? '';
    switch ($operation) {
        case 'version': return PHP_VERSION;
        case 'serialize': return same($first);
        case 'json_encode':
            $json = json_encode(unserialize($first, ['allowed_classes' => false]), JSON_UNESCAPED_UNICODE);
            return $json === false ? null : $json;
        case 'json_decode':
            $value = json_decode($first, true);
            return json_last_error() ? null : serialize($value);
        case 'parse_str':
            parse_str($first, $variables);
            return serialize($variables);
        case 'query_of': return parse_url($first)['query'] ?? '';
        case 'replace': return serialize(array_replace_recursive(unserialize($first), unserialize($arguments[1])));
        case 'text': return (string) unserialize($first);
        case 'key': return (string) array_key_first([unserialize($first) => 1]);
        case 'kind': return gettype(array_key_first([$first => 1]));
        case 'empty': return (string) (int) empty(unserialize($first));
        case 'random':
            mt_srand((int) $first);
            return serialize((new RandomValues(true))->value(4));
        case 'random_array': // No enum cases: they cannot be decoded without the enum.
            mt_srand((int) $first);
            return serialize((new RandomValues(false))->array(4));
    }
    return null;
}

while (($line = fgets(STDIN)) !== false) {
    $words = explode(' ', rtrim($line, "\n"));
    $operation = array_shift($words);
    try {
        $result = run($operation, array_map('base64_decode', $words));
    } catch (Throwable $error) {
        $result = null;
    }
    echo $result === null ? "-\n" : '+' . base64_encode($result) . "\n";
}
