/* What an app may reach over the network: the decision alone, no sockets.
 *
 * A host that is named is reached at the addresses its name was found to have when the app asked;
 * so the app cannot be given one address and connect to another.
 */
#pragma once

#include <stdbool.h>

struct reach;
struct sockaddr;

/* `net`: permissions.net of a manifest, NULL-terminated; entries that are none are ignored. */
struct reach *reach_new(const char *const *net);
void reach_free(struct reach *reach); /* NULL is fine */

bool reach_name(const struct reach *reach, const char *host); /* may be looked up */
void reach_learn(struct reach *reach, const char *host, const struct sockaddr *address);
bool reach_address(const struct reach *reach, const struct sockaddr *address); /* IPv4, IPv6 */
