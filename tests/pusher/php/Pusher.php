<?php
// A stand-in for pusher/pusher-php-server, which no registry of this project's tests has: the same
// namespace, calls, signatures and requests, without its dependencies.

namespace Pusher;

class PusherException extends \Exception {}

class ApiErrorException extends PusherException {}

class Pusher
{
    private $key;
    private $secret;
    private $appId;
    private $url;

    public function __construct(string $key, string $secret, string $appId, array $options = [])
    {
        $tls = $options['useTLS'] ?? ($options['scheme'] ?? 'http') === 'https';
        $host = $options['host'] ?? '127.0.0.1';
        $port = $options['port'] ?? ($tls ? 443 : 80);
        $path = rtrim($options['path'] ?? '', '/');
        [$this->key, $this->secret, $this->appId] = [$key, $secret, $appId];
        $this->url = ($tls ? 'https' : 'http') . "://$host:$port$path";
    }

    public function trigger($channels, string $event, $data, array $params = [], bool $encoded = false): object
    {
        $channels = (array) $channels;
        $post = ['name' => $event, 'data' => $this->encode($data, $encoded)] + $params;
        // The real one does the same.
        $post += count($channels) === 1 ? ['channel' => $channels[0]] : ['channels' => array_values($channels)];
        return $this->post('/events', $post);
    }

    public function triggerBatch(array $batch, bool $encoded = false): object
    {
        foreach ($batch as &$event) {
            $event['data'] = $this->encode($event['data'], $encoded);
        }
        return $this->post('/batch_events', ['batch' => $batch]);
    }

    public function sendToUser(string $user, string $event, $data): object
    {
        return $this->trigger("#server-to-user-$user", $event, $data);
    }

    public function terminateUserConnections(string $user): object
    {
        return $this->post('/users/' . rawurlencode($user) . '/terminate_connections', new \stdClass());
    }

    public function getChannels(array $params = []): object
    {
        return $this->get('/channels', $params);
    }

    public function getChannelInfo(string $channel, array $params = []): object
    {
        return $this->get("/channels/$channel", $params);
    }

    public function getPresenceUsers(string $channel): object
    {
        return $this->get("/channels/$channel/users");
    }

    public function authorizeChannel(string $channel, string $socketId, string $data = null): string
    {
        $text = "$socketId:$channel" . ($data === null ? '' : ":$data");
        $answer = ['auth' => $this->key . ':' . $this->hmac($text)];
        return json_encode($data === null ? $answer : $answer + ['channel_data' => $data], JSON_UNESCAPED_SLASHES);
    }

    public function authorizePresenceChannel(string $channel, string $socketId, string $user, $info = null): string
    {
        $data = ['user_id' => $user] + ($info ? ['user_info' => $info] : []);
        return $this->authorizeChannel($channel, $socketId, json_encode($data));
    }

    public function authenticateUser(string $socketId, array $user): string
    {
        $data = json_encode($user);
        $auth = $this->key . ':' . $this->hmac("{$socketId}::user::$data");
        return json_encode(['auth' => $auth, 'user_data' => $data], JSON_UNESCAPED_SLASHES);
    }

    // The names of earlier versions, which Laravel calls where the others are missing.
    public function socket_auth($channel, $socketId, $data = null)
    {
        return $this->authorizeChannel($channel, $socketId, $data);
    }

    public function presence_auth($channel, $socketId, $user, $info = null)
    {
        return $this->authorizePresenceChannel($channel, $socketId, (string) $user, $info);
    }

    public function webhook(array $headers, string $body): object
    {
        $signature = $headers['X-Pusher-Signature'] ?? '';
        if (($headers['X-Pusher-Key'] ?? '') !== $this->key || !hash_equals($this->hmac($body), $signature)) {
            throw new PusherException('Received WebHook with invalid signature: got ' . $signature);
        }
        return json_decode($body);
    }

    public function get(string $path, array $params = []): object
    {
        return $this->request('GET', $path, '', $params);
    }

    public function post(string $path, $body): object
    {
        $body = json_encode($body, JSON_THROW_ON_ERROR);
        return $this->request('POST', $path, $body, ['body_md5' => md5($body)]);
    }

    private function request(string $method, string $path, string $body, array $params): object
    {
        $path = "/apps/{$this->appId}$path";
        $params += ['auth_key' => $this->key, 'auth_timestamp' => time(), 'auth_version' => '1.0'];
        $params = array_map(fn ($value) => is_array($value) ? implode(',', $value) : $value, $params);
        ksort($params);
        $signed = implode('&', array_map(fn ($key) => "$key={$params[$key]}", array_keys($params)));
        $params['auth_signature'] = $this->hmac("$method\n$path\n$signed");
        $http = ['method' => $method, 'content' => $body, 'ignore_errors' => true, 'timeout' => 30,
            'header' => ['Content-Type: application/json', 'X-Pusher-Library: pusher-http-php 7.2.6']];
        $url = $this->url . str_replace('#', '%23', $path) . '?' . http_build_query($params);
        $answer = file_get_contents($url, false, stream_context_create(['http' => $http]));
        $status = (int) explode(' ', $http_response_header[0] ?? '- 0')[1];
        if ($status !== 200) {
            throw new ApiErrorException((string) $answer, $status);
        }
        return json_decode($answer, false, 512, JSON_THROW_ON_ERROR);
    }

    private function encode($data, bool $encoded): string
    {
        return $encoded ? $data : json_encode($data, JSON_THROW_ON_ERROR);
    }

    private function hmac(string $text): string
    {
        return hash_hmac('sha256', $text, $this->secret);
    }
}
