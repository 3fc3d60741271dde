#include "app/attempts.h"

#include <stdlib.h>

#include <arpa/inet.h>

#include "base/mem.h"

enum { NET_BYTES = 8 };

struct attempt_peer {
    unsigned char net[NET_BYTES];
    unsigned next;             /* of `at`, a ring */
    uint64_t last;             /* ms */
    uint64_t at[ATTEMPTS_MAX]; /* ms; 0: none */
};

/* ::ffff:0:0/96, where IPv6 keeps IPv4. */
static const unsigned char mapped[12] = {[10] = 0xFF, [11] = 0xFF};

/* The address as IPv6, an IPv4 one mapped. */
static bool parse(struct str ip, unsigned char out[static 16])
{
    char text[INET6_ADDRSTRLEN];
    const char *zone = ip.len > 0 ? memchr(ip.at, '%', ip.len) : NULL;
    const size_t len = zone ? (size_t)(zone - ip.at) : ip.len;

    if (len == 0 || len >= sizeof(text))
        return false;
    memcpy(text, ip.at, len);
    text[len] = '\0';
    memcpy(out, mapped, sizeof(mapped));
    return inet_pton(AF_INET, text, out + sizeof(mapped)) == 1 ||
           inet_pton(AF_INET6, text, out) == 1;
}

bool attempts_address(struct str ip)
{
    unsigned char address[16];

    return parse(ip, address);
}

/* The part of the address that stands for its owner. Those that cannot be read are one peer, and
 * IPv4 lies where no IPv6 network does.
 */
static void net_of(struct str ip, unsigned char net[static NET_BYTES])
{
    unsigned char address[16] = {0};

    memset(net, 0, NET_BYTES);
    if (!parse(ip, address))
        return;
    if (memcmp(address, mapped, sizeof(mapped)) == 0)
        memcpy(net, address + NET_BYTES, NET_BYTES);
    else
        memcpy(net, address, NET_BYTES);
}

static struct attempt_peer *find(const struct attempts *attempts, struct str ip)
{
    unsigned char net[NET_BYTES];

    if (attempts->len == 0)
        return NULL;
    net_of(ip, net);
    for (size_t i = 0; i < attempts->len; i++) {
        if (memcmp(attempts->peers[i].net, net, sizeof(net)) == 0)
            return &attempts->peers[i];
    }
    return NULL;
}

unsigned attempts_wait(const struct attempts *attempts, struct str ip, uint64_t now_ms)
{
    const struct attempt_peer *peer = find(attempts, ip);
    uint64_t over;

    if (!peer || peer->at[peer->next] == 0)
        return 0;
    over = peer->at[peer->next] + ATTEMPTS_WINDOW_MS; /* the oldest of the last ten */
    return over > now_ms ? (unsigned)((over - now_ms + 999) / 1000) : 0;
}

/* A new place, or that of the peer which has been quiet for longest. */
static struct attempt_peer *make_room(struct attempts *attempts)
{
    struct attempt_peer *oldest;

    if (!attempts->peers)
        attempts->peers = mem_alloc(ATTEMPT_PEERS_MAX * sizeof(*attempts->peers));
    if (attempts->len < ATTEMPT_PEERS_MAX)
        return &attempts->peers[attempts->len++];
    oldest = attempts->peers;
    for (size_t i = 1; i < attempts->len; i++) {
        if (attempts->peers[i].last < oldest->last)
            oldest = &attempts->peers[i];
    }
    *oldest = (struct attempt_peer){.last = 0};
    return oldest;
}

void attempts_add(struct attempts *attempts, struct str ip, uint64_t now_ms)
{
    struct attempt_peer *peer = find(attempts, ip);

    if (!peer) {
        peer = make_room(attempts);
        net_of(ip, peer->net);
    }
    peer->last = peer->at[peer->next] = now_ms ? now_ms : 1;
    peer->next = (peer->next + 1) % ATTEMPTS_MAX;
}

void attempts_fini(struct attempts *attempts)
{
    free(attempts->peers);
    *attempts = (struct attempts){.len = 0};
}
