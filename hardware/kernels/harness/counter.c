/* QEMU plugin: instructions by class between the markers `mov r9, r9` and `mov r10, r10`.
 *
 * The prototypes of the plugin interface (version 1) are written out, so that no QEMU header is
 * needed to build it. */
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

typedef uint64_t plugin_id;
struct qemu_plugin_tb;
struct qemu_plugin_insn;

extern void qemu_plugin_register_vcpu_tb_trans_cb(plugin_id,
                                                  void (*)(plugin_id, struct qemu_plugin_tb *));
extern size_t qemu_plugin_tb_n_insns(const struct qemu_plugin_tb *);
extern struct qemu_plugin_insn *qemu_plugin_tb_get_insn(const struct qemu_plugin_tb *, size_t);
extern const void *qemu_plugin_insn_data(const struct qemu_plugin_insn *);
extern size_t qemu_plugin_insn_size(const struct qemu_plugin_insn *);
extern void qemu_plugin_register_vcpu_insn_exec_cb(struct qemu_plugin_insn *,
                                                   void (*)(unsigned, void *), int, void *);
extern void qemu_plugin_register_vcpu_insn_exec_inline(struct qemu_plugin_insn *, int, void *,
                                                       uint64_t);
extern void qemu_plugin_register_vcpu_tb_exec_inline(struct qemu_plugin_tb *, int, void *,
                                                     uint64_t);

int qemu_plugin_version = 1;

enum { ALU, LOAD, STORE, MAC, DIVIDE, BRANCH, VECTOR, CLASSES };
static const char *const names[CLASSES] = {"alu",    "load",   "store", "mac",
                                           "divide", "branch", "vector"};
static uint64_t counts[CLASSES], before[CLASSES];
static FILE *out;

static int class16(uint16_t h) {
  if ((h & 0xF800) == 0x4800) return LOAD;                       /* ldr literal */
  if ((h & 0xF000) == 0x5000) return (h & 0x0E00) < 0x0600 ? STORE : LOAD;
  if (h >= 0x6000 && h < 0xA000) return h & 0x0800 ? LOAD : STORE;
  if ((h & 0xF800) == 0xC000 || (h & 0xFE00) == 0xB400) return STORE; /* stm, push */
  if ((h & 0xF800) == 0xC800 || (h & 0xFE00) == 0xBC00) return LOAD;  /* ldm, pop */
  if ((h & 0xF500) == 0xB100) return BRANCH;                     /* cbz */
  if ((h & 0xF000) == 0xD000 && (h & 0x0F00) < 0x0E00) return BRANCH;
  if ((h & 0xF800) == 0xE000 || (h & 0xFF00) == 0x4700) return BRANCH;
  if ((h & 0xFFC0) == 0x4340) return MAC;                        /* muls */
  return ALU;
}

static int class32(uint16_t h, uint16_t g) {
  if ((h & 0xFE00) == 0xE800 || (h & 0xFE00) == 0xF800) return h & 0x0010 ? LOAD : STORE;
  if ((h & 0xFF00) == 0xFB00) return (h & 0xFFD0) == 0xFB90 ? DIVIDE : MAC;
  if ((h & 0xEC00) == 0xEC00) return VECTOR;
  if ((h & 0xF800) == 0xF000 && (g & 0x8000)) return BRANCH;
  return ALU;
}

static void start(unsigned cpu, void *user) {
  (void)cpu;
  (void)user;
  memcpy(before, counts, sizeof counts);
}

static void stop(unsigned cpu, void *user) {
  (void)cpu;
  (void)user;
  for (int i = 0; i < CLASSES; i++)
    fprintf(out, "%s=%llu%c", names[i], (unsigned long long)(counts[i] - before[i]),
            i == CLASSES - 1 ? '\n' : ' ');
  fflush(out);
}

static void translate(plugin_id id, struct qemu_plugin_tb *tb) {
  size_t n = qemu_plugin_tb_n_insns(tb);
  uint64_t whole[CLASSES] = {0};
  bool marked = false;
  (void)id;
  for (size_t i = 0; i < n; i++) {
    const uint8_t *d = qemu_plugin_insn_data(qemu_plugin_tb_get_insn(tb, i));
    uint16_t h = (uint16_t)(d[0] | d[1] << 8);
    if (h == 0x46C9 || h == 0x46D2) marked = true;
  }
  for (size_t i = 0; i < n; i++) {
    struct qemu_plugin_insn *insn = qemu_plugin_tb_get_insn(tb, i);
    const uint8_t *d = qemu_plugin_insn_data(insn);
    uint16_t h = (uint16_t)(d[0] | d[1] << 8);
    bool narrow = qemu_plugin_insn_size(insn) == 2;
    if (narrow && h == 0x46C9) {
      qemu_plugin_register_vcpu_insn_exec_cb(insn, start, 0, 0);
    } else if (narrow && h == 0x46D2) {
      qemu_plugin_register_vcpu_insn_exec_cb(insn, stop, 0, 0);
    } else {
      int c = narrow ? class16(h) : class32(h, (uint16_t)(d[2] | d[3] << 8));
      /* A block with a marker is counted one by one, so that only what follows it counts. */
      if (marked) qemu_plugin_register_vcpu_insn_exec_inline(insn, 0, &counts[c], 1);
      else whole[c]++;
    }
  }
  for (int i = 0; !marked && i < CLASSES; i++)
    if (whole[i]) qemu_plugin_register_vcpu_tb_exec_inline(tb, 0, &counts[i], whole[i]);
}

int qemu_plugin_install(plugin_id id, const void *info, int argc, char **argv) {
  (void)info;
  for (int i = 0; i < argc; i++)
    if (!strncmp(argv[i], "out=", 4)) out = fopen(argv[i] + 4, "w");
  if (!out) return 1;
  qemu_plugin_register_vcpu_tb_trans_cb(id, translate);
  return 0;
}
