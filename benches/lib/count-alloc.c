// Counts what a process has allocated: loaded with LD_PRELOAD, it keeps bytes and blocks in use in the file $COUNT_ALLOC/<pid>, which the
// profile reads. For glibc: its own functions stand behind ours under their second names.
#include <errno.h>
#include <fcntl.h>
#include <malloc.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

extern void *__libc_malloc(size_t);
extern void *__libc_calloc(size_t, size_t);
extern void *__libc_realloc(void *, size_t);
extern void *__libc_memalign(size_t, size_t);
extern void __libc_free(void *);

struct counts {
  _Atomic int64_t bytes, blocks, calls;
};
static struct counts before;
static struct counts *_Atomic counts = &before;

__attribute__((constructor)) static void begin(void) {
  const char *folder = getenv("COUNT_ALLOC");
  char name[4096];
  if (!folder || snprintf(name, sizeof name, "%s/%d", folder, (int)getpid()) >= (int)sizeof name) return;
  int file = open(name, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
  if (file < 0 || ftruncate(file, sizeof(struct counts)) != 0) return;
  struct counts *shared = mmap(NULL, sizeof(struct counts), PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
  close(file);
  if (shared != MAP_FAILED) counts = shared;
}

static void *add(void *block) {
  if (block) {
    struct counts *to = counts;
    atomic_fetch_add_explicit(&to->bytes, (int64_t)malloc_usable_size(block), memory_order_relaxed);
    atomic_fetch_add_explicit(&to->blocks, 1, memory_order_relaxed);
    atomic_fetch_add_explicit(&to->calls, 1, memory_order_relaxed);
  }
  return block;
}

static void take(int64_t bytes) {
  struct counts *from = counts;
  atomic_fetch_sub_explicit(&from->bytes, bytes, memory_order_relaxed);
  atomic_fetch_sub_explicit(&from->blocks, 1, memory_order_relaxed);
}

void *malloc(size_t size) { return add(__libc_malloc(size)); }
void *calloc(size_t count, size_t size) { return add(__libc_calloc(count, size)); }
void *memalign(size_t align, size_t size) { return add(__libc_memalign(align, size)); }
void *aligned_alloc(size_t align, size_t size) { return add(__libc_memalign(align, size)); }

int posix_memalign(void **block, size_t align, size_t size) {
  void *made = add(__libc_memalign(align, size));
  if (!made) return ENOMEM;
  *block = made;
  return 0;
}

void *realloc(void *block, size_t size) {
  int64_t old = block ? (int64_t)malloc_usable_size(block) : 0;
  void *made = __libc_realloc(block, size);
  if (block && (made || size == 0)) take(old);
  return add(made);
}

void free(void *block) {
  if (!block) return;
  take((int64_t)malloc_usable_size(block));
  __libc_free(block);
}
