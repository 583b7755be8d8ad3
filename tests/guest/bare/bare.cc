// SPDX-License-Identifier: MIT
// A guest of 32 bits without an operating system and without paging, which runs wherever /dev/kvm
// opens, also where that cannot run a Linux. QEMU loads it as a multiboot kernel. It fills its RAM,
// verifies and rewrites it for ever and says the same on the serial port as the Linux guest
// (tests/guest/report.cc).
//
// A Debian without multilib has neither a C++ library nor a libgcc of 32 bits, hence no headers but
// the compiler's own and no division of 64 bits.

#include <stdint.h>

// Multiboot specification 0.6.96, sections 3.1 and 3.2: the header has a magic number, flags (bit
// 1: tell us the size of memory) and what makes their sum 0. At entry EBX has the address of the
// information, interrupts are off, segments are flat, and there is no stack.
asm(R"(
  .section .text.unlikely, "ax"
  .align 4
  .long 0x1badb002, 0x2, -(0x1badb002 + 0x2)
  .globl _start
_start:
  mov $stack_end, %esp
  push %ebx
  call RunBareGuest
  .section .bss
  .align 16
  .skip 16384
stack_end:
  .text
)");

namespace {

struct MultibootInfo {
  uint32_t flags;
  uint32_t lower_kib;
  uint32_t upper_kib;  // from 1 MiB up to the first hole
};

constexpr uint32_t kPageBytes = 4096;
constexpr uint32_t kWordsPerPage = kPageBytes / sizeof(uint32_t);
constexpr uint32_t kPagesPerMib = 256;
constexpr uint32_t kSectors = 8;
constexpr uint32_t kWordsPerSector = kWordsPerPage / kSectors;
constexpr uint32_t kTemplates = 32;

// Below it are this program and the firmware; SeaBIOS keeps its tables at the end of memory.
constexpr uint32_t kFirstPage = 16 * kPagesPerMib;
constexpr uint32_t kTablePages = 1 * kPagesPerMib;

// What is verified in a second, and which of it is rewritten.
constexpr uint32_t kHotPages = 2 * kPagesPerMib;
constexpr uint32_t kColdPagesPerSecond = 8 * kPagesPerMib;
constexpr uint32_t kHotRewriteEvery = 4;
constexpr uint32_t kColdRewriteEvery = 16;

constexpr uint32_t kMaxPages = 1U << 20;
constexpr uint32_t kWrongPagesReported = 20;

constexpr uint16_t kSerialPort = 0x3f8;
constexpr uint16_t kSerialStatus = kSerialPort + 5;
constexpr uint8_t kSerialCanSend = 1U << 5;
constexpr uint16_t kClockIndex = 0x70;
constexpr uint16_t kClockData = 0x71;

void OutByte(uint16_t port, uint8_t value) { asm volatile("outb %0, %1" ::"a"(value), "Nd"(port)); }

uint8_t InByte(uint16_t port) {
  uint8_t value = 0;
  asm volatile("inb %1, %0" : "=a"(value) : "Nd"(port));
  return value;
}

// The real-time clock's seconds, in whatever code it has them.
uint8_t ClockSecond() {
  OutByte(kClockIndex, 0);
  return InByte(kClockData);
}

void SayLetter(char letter) {
  while ((InByte(kSerialStatus) & kSerialCanSend) == 0) {
  }
  OutByte(kSerialPort, static_cast<uint8_t>(letter));
}

void Say(const char* text) {
  for (; *text != '\0'; ++text) SayLetter(*text);
}

// Divides by 10 and returns the remainder.
uint32_t DivideBy10(uint64_t& number) {
  auto high = static_cast<uint32_t>(number >> 32);
  auto low = static_cast<uint32_t>(number);
  uint32_t remainder = high % 10;
  high /= 10;
  asm("divl %2" : "+a"(low), "+d"(remainder) : "r"(10U));
  number = (static_cast<uint64_t>(high) << 32) | low;
  return remainder;
}

void SayNumber(uint64_t number) {
  char digits[21];
  char* digit = digits + sizeof(digits) - 1;
  *digit = '\0';
  do {
    *--digit = static_cast<char>('0' + DivideBy10(number));
  } while (number != 0);
  Say(digit);
}

// Finalizer of MurmurHash3: every input bit reaches every output bit.
uint32_t Mix(uint32_t x) {
  x = (x ^ (x >> 16)) * 0x85ebca6b;
  x = (x ^ (x >> 13)) * 0xc2b2ae35;
  return x ^ (x >> 16);
}

void CopyWords(volatile uint32_t* to, const uint32_t* from, uint32_t words) {
  asm volatile("rep movsl" : "+D"(to), "+S"(from), "+c"(words)::"memory");
}

// How many words from the first that differs on are left, 0 where none does.
uint32_t WordsFromDifference(const volatile uint32_t* a, const uint32_t* b, uint32_t words) {
  uint32_t left = words;
  bool equal = false;
  asm volatile("repe cmpsl" : "+S"(a), "+D"(b), "+c"(left), "=@cce"(equal)::"memory");
  return equal ? 0 : left + 1;
}

// A page is a copy of one of these, but for one word in each sector, which tells page, version and
// sector apart. What KVM has to emulate, as where there is no hardware for guests without paging,
// takes a microsecond an instruction: this way a page takes string instructions and few others.
uint32_t templates[kTemplates][kWordsPerPage];

// Each has random words, as many as its number says, and then one that repeats.
void MakeTemplates() {
  for (uint32_t number = 0; number < kTemplates; ++number) {
    uint32_t random = Mix(number + 1);
    for (uint32_t word = 0; word < kWordsPerPage; ++word) {
      if (word * kTemplates < number * kWordsPerPage) random = random * 1664525 + 1013904223;
      templates[number][word] = random;
    }
  }
}

class Content {
 public:
  Content(uint32_t page, uint16_t version) : mark_(Mix(Mix(page) + version)) {}

  const uint32_t* SectorTemplate(uint32_t sector) const {
    return templates[mark_ % kTemplates] + sector * kWordsPerSector;
  }
  uint32_t Mark(uint32_t sector) const { return mark_ + sector; }

 private:
  uint32_t mark_;
};

uint16_t versions[kMaxPages];

class Memory {
 public:
  explicit Memory(uint32_t end) : end_(end < kMaxPages ? end : kMaxPages) {}

  void Fill() {
    for (uint32_t page = kFirstPage; page < end_; ++page) {
      Write(page);
      filled_bytes_ += kPageBytes;
    }
  }

  [[noreturn]] void VerifyForever() {
    uint32_t cold = kFirstPage + kHotPages;
    for (;; ++seconds_) {
      Report("running");
      const uint8_t second = ClockSecond();
      for (uint32_t i = 0; i < kHotPages; ++i) Visit(kFirstPage + i, kHotRewriteEvery);
      for (uint32_t i = 0; i < kColdPagesPerSecond; ++i) {
        Visit(cold, kColdRewriteEvery);
        if (++cold < end_) continue;
        cold = kFirstPage + kHotPages;
        ++sweeps_;
      }
      while (ClockSecond() == second) asm volatile("pause");
    }
  }

  void Report(const char* phase) {
    Say("EBB {\"phase\": \"");
    Say(phase);
    Say("\"");
    Field("seconds", seconds_);
    Field("used_bytes", filled_bytes_);
    Field("filled_bytes", filled_bytes_);
    Field("verified_bytes", verified_bytes_);
    Field("wrong_bytes", wrong_bytes_);
    Field("sweeps", sweeps_);
    Field("disk_sweeps", 0);
    Field("hot_rewrites", hot_rewrites_);
    Say("}\n");
  }

 private:
  static volatile uint32_t* At(uint32_t page) {
    return reinterpret_cast<volatile uint32_t*>(page * kPageBytes);
  }

  static void Field(const char* name, uint64_t value) {
    Say(", \"");
    Say(name);
    Say("\": ");
    SayNumber(value);
  }

  void Visit(uint32_t page, uint32_t rewrite_every) {
    Check(page);
    if ((page + seconds_) % rewrite_every != 0) return;
    ++versions[page];
    Write(page);
    if (rewrite_every == kHotRewriteEvery) ++hot_rewrites_;
  }

  void Write(uint32_t page) {
    const Content content(page, versions[page]);
    for (uint32_t sector = 0; sector < kSectors; ++sector) {
      volatile uint32_t* words = At(page) + sector * kWordsPerSector;
      words[0] = content.Mark(sector);
      CopyWords(words + 1, content.SectorTemplate(sector) + 1, kWordsPerSector - 1);
    }
  }

  // Of what differs in a sector, all from there on counts as wrong.
  void Check(uint32_t page) {
    const Content content(page, versions[page]);
    uint32_t wrong_words = 0;
    for (uint32_t sector = 0; sector < kSectors; ++sector) {
      const volatile uint32_t* words = At(page) + sector * kWordsPerSector;
      if (words[0] != content.Mark(sector)) ++wrong_words;
      wrong_words +=
          WordsFromDifference(words + 1, content.SectorTemplate(sector) + 1, kWordsPerSector - 1);
    }
    verified_bytes_ += kPageBytes;
    if (wrong_words > 0) ReportWrong(page, wrong_words);
  }

  void ReportWrong(uint32_t page, uint32_t words) {
    wrong_bytes_ += words * sizeof(uint32_t);
    if (wrong_pages_++ >= kWrongPagesReported) return;
    Say("EBB-WRONG page=");
    SayNumber(page);
    Say(" version=");
    SayNumber(versions[page]);
    Say(" wrong_words=");
    SayNumber(words);
    Say(" first_word=");
    SayNumber(At(page)[0]);
    Say("\n");
  }

  const uint32_t end_;
  uint32_t seconds_ = 0;
  uint32_t wrong_pages_ = 0;
  uint64_t filled_bytes_ = 0;
  uint64_t verified_bytes_ = 0;
  uint64_t wrong_bytes_ = 0;
  uint64_t sweeps_ = 0;
  uint64_t hot_rewrites_ = 0;
};

}  // namespace

extern "C" [[noreturn]] void RunBareGuest(const MultibootInfo* info);

void RunBareGuest(const MultibootInfo* info) {
  MakeTemplates();
  Memory memory(kPagesPerMib + info->upper_kib / 4 - kTablePages);
  memory.Report("filling");
  memory.Fill();
  memory.VerifyForever();
}
