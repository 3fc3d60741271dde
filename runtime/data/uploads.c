#include "data/uploads.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "base/random.h"
#include "data/files.h"

/* files_list() does not tell names that start so. */
#define FOLDER ".buntime-uploads"

enum { FRESH_SECONDS = 60 }; /* so long a file may be there before it is locked */

int uploads_create(int root, char path[static UPLOAD_PATH_MAX], int *fd)
{
    uint64_t random[2];
    int folder, rc;

    rc = files_mkdir(root, FOLDER);
    if (rc == 0)
        rc = files_open(root, FOLDER, O_RDONLY | O_DIRECTORY, &folder);
    if (rc != 0)
        return rc;
    random_bytes(random, sizeof(random));
    snprintf(path, UPLOAD_PATH_MAX, FOLDER "/%016llx%016llx", (unsigned long long)random[0],
             (unsigned long long)random[1]);
    *fd = openat(folder, path + sizeof(FOLDER),
                 O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0644);
    if (*fd < 0)
        rc = errno;
    else
        flock(*fd, LOCK_EX | LOCK_NB);
    close(folder);
    return rc;
}

static bool is_old(int fd)
{
    struct stat info;

    return fstat(fd, &info) == 0 && S_ISREG(info.st_mode) &&
           info.st_mtim.tv_sec < time(NULL) - FRESH_SECONDS;
}

static void sweep_one(int folder, const char *name)
{
    const int fd = openat(folder, name, O_RDONLY | O_NONBLOCK | O_NOFOLLOW | O_CLOEXEC);

    if (fd < 0)
        return;
    if (is_old(fd) && flock(fd, LOCK_EX | LOCK_NB) == 0)
        unlinkat(folder, name, 0);
    close(fd);
}

void uploads_sweep(int root)
{
    const struct dirent *entry;
    DIR *dir;
    int fd;

    if (files_open(root, FOLDER, O_RDONLY | O_DIRECTORY, &fd) != 0)
        return;
    dir = fdopendir(fd);
    if (!dir) {
        close(fd);
        return;
    }
    while ((entry = readdir(dir))) {
        if (entry->d_name[0] != '.')
            sweep_one(dirfd(dir), entry->d_name);
    }
    closedir(dir);
}
