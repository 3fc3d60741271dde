/* Stands in for libFuzzer's main: gives each file of a folder to the fuzz target, once. */
#include <dirent.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static int replay(const char *dir, const char *name)
{
    char path[4096];
    uint8_t *data = malloc(1 << 20);
    size_t size;
    FILE *file;

    snprintf(path, sizeof(path), "%s/%s", dir, name);
    file = fopen(path, "rb");
    if (!file || !data) {
        perror(path);
        exit(1);
    }
    size = fread(data, 1, 1 << 20, file);
    fclose(file);
    LLVMFuzzerTestOneInput(data, size);
    free(data);
    return 1;
}

int main(int argc, char **argv)
{
    const char *dir_path = argc > 1 ? argv[1] : ".";
    const struct dirent *entry;
    DIR *dir = opendir(dir_path);
    int count = 0;

    if (!dir) {
        perror(dir_path);
        return 1;
    }
    while ((entry = readdir(dir))) {
        if (entry->d_name[0] != '.')
            count += replay(dir_path, entry->d_name);
    }
    closedir(dir);
    printf("replayed %d inputs\n", count);
    return count ? 0 : 1; /* an empty corpus tests nothing */
}
