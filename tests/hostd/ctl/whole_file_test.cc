// SPDX-License-Identifier: MIT
#include "hostd/ctl/whole_file.h"

#include <dirent.h>
#include <gtest/gtest.h>
#include <sys/stat.h>

#include <atomic>
#include <thread>

#include "tests/hostd/ctl/ebbctl_fixture.h"

namespace ebb {
namespace {

class WholeFileTest : public testing::Test {
 protected:
  WholeFileTest() {
    char name[] = "/tmp/ebb-file-test-XXXXXX";
    dir_ = mkdtemp(name);
    path_ = dir_ + "/ebb.prom";
  }
  ~WholeFileTest() override {
    unlink(path_.c_str());
    EXPECT_EQ(rmdir(dir_.c_str()), 0) << "something else was left in " << dir_;
  }

  std::string dir_;
  std::string path_;
};

TEST_F(WholeFileTest, IsMadeAndReplacedForEverybodyToRead) {
  const mode_t umask_before = umask(077);
  EXPECT_TRUE(WriteWholeFile(path_, "first\n").ok());
  umask(umask_before);
  EXPECT_EQ(ContentOf(path_), "first\n");
  EXPECT_TRUE(WriteWholeFile(path_, "2\n").ok());
  EXPECT_EQ(ContentOf(path_), "2\n");
  EXPECT_TRUE(WriteWholeFile(path_, "").ok());
  EXPECT_EQ(ContentOf(path_), "");
  struct stat found;
  ASSERT_EQ(stat(path_.c_str(), &found), 0);
  EXPECT_EQ(found.st_mode & 07777, 0644u);
}

TEST_F(WholeFileTest, AReaderSeesTheOldOrTheNewContent) {
  const std::string contents[] = {std::string(300000, 'a'), std::string(500000, 'b')};
  ASSERT_TRUE(WriteWholeFile(path_, contents[0]).ok());
  std::atomic<bool> over{false};
  std::thread reader([&] {
    while (!over) {
      const std::string content = ContentOf(path_);
      EXPECT_TRUE(content == contents[0] || content == contents[1]) << content.size();
    }
  });
  for (int i = 0; i < 100; ++i) EXPECT_TRUE(WriteWholeFile(path_, contents[i % 2]).ok());
  over = true;
  reader.join();
}

TEST_F(WholeFileTest, AFailureLeavesNothingBehind) {
  // A directory cannot be replaced by a file: the last step fails, and leaves nothing.
  ASSERT_EQ(mkdir(path_.c_str(), 0700), 0);
  const absl::Status status = WriteWholeFile(path_, "x");
  EXPECT_FALSE(status.ok());
  EXPECT_NE(status.ToString().find(path_), std::string::npos) << status;
  int found = 0;
  DIR* dir = opendir(dir_.c_str());
  while (readdir(dir) != nullptr) ++found;
  closedir(dir);
  EXPECT_EQ(found, 3) << "., .. and the directory";
  EXPECT_EQ(rmdir(path_.c_str()), 0);
}

TEST_F(WholeFileTest, AFolderThatIsNotThereIsNamed) {
  const absl::Status status = WriteWholeFile("/nonexistent/ebb.prom", "x");
  EXPECT_EQ(status.message(), "cannot write /nonexistent/ebb.prom: No such file or directory");
}

}  // namespace
}  // namespace ebb
