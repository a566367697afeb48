<?php

namespace App\Models;

use Illuminate\Auth\GenericUser;

/** A user of the chat: the name in its session. */
class User extends GenericUser
{
    public function mayEnter(int $room): bool
    {
        return $room === 1;
    }
}
