/* What the two ends of a gate say to each other: one question, one answer, on SOCK_SEQPACKET. */
#pragma once

#include <netinet/in.h>
#include <stdint.h>

enum { GATE_HOST_MAX = 255, GATE_ADDRESSES_MAX = 32 };

enum gate_op { GATE_LOOK_UP = 1, GATE_CONNECT = 2 };

struct gate_question {
    uint32_t op;
    union {
        char host[GATE_HOST_MAX + 1];
        struct sockaddr_in6 address; /* or a sockaddr_in */
    };
};

struct gate_answer {
    int32_t error; /* EAI_… of a look-up; errno of a connection; 0: fine, and a socket came along */
    uint32_t count;
    struct sockaddr_in6 addresses[GATE_ADDRESSES_MAX]; /* or sockaddr_in; port 0 */
};
