<?php
// A back end: the original's GatewayClient, or a minimal replacement.

declare(strict_types=1);

final class Outside
{
    public function __construct(private readonly Cluster $cluster, private readonly bool $original)
    {
        if ($original) {
            require_once __DIR__ . '/../original/load.php';
            error_reporting(E_ALL & ~E_DEPRECATED);
        }
    }

    public function __call(string $function, array $arguments): mixed
    {
        if ($this->original) {
            \GatewayClient\Gateway::$registerAddress = $this->cluster->register;
            \GatewayClient\Gateway::$secretKey = $this->cluster->secret;
            // Its list of gateways is cached for at most a second.
            return \GatewayClient\Gateway::$function(...$arguments);
        }
        $address = gateways($this->cluster->register, $this->cluster->secret)[0];
        $link = dial($address);
        write_all($link, hello($this->cluster->secret));
        [$first, $second] = $arguments + [1 => ''];
        $ask = fn (int $command, int $connection = 0, string $ext = '') => unserialize((string) ask($link, $command, $connection, $ext));
        return match ($function) {
            'sendToAll' => write_all($link, frame(SEND_TO_ALL, body: $first)),
            'sendToGroup' => write_all($link, frame(SEND_TO_GROUP, 0, json_encode(['group' => [$first], 'exclude' => null]), $second)),
            'sendToUid' => write_all($link, frame(SEND_TO_UID, 0, json_encode([$first]), $second)),
            'getClientIdCountByGroup' => $ask(COUNT_BY_GROUP, 0, $first),
            'getClientIdByUid' => array_map(
                fn (int $connection) => bin2hex(pack('NnN', ip2long(strstr($address, ':', true)), (int) substr(strrchr($address, ':'), 1), $connection)),
                $ask(BY_UID, 0, $first)),
            'getSession' => $ask(GET_SESSION, unpack('N', hex2bin($first), 6)[1]),
        };
    }
}
