/* SipHash-2-4: a hash with a secret key, for tables whose keys strangers may choose. */
#pragma once

#include <stdint.h>

#include "base/str.h"

uint64_t siphash(const uint64_t key[static 2], struct str bytes);
