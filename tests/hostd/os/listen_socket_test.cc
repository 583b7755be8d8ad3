// SPDX-License-Identifier: MIT
#include "hostd/os/listen_socket.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>

#include <cstdlib>
#include <cstring>
#include <utility>

namespace ebb {
namespace {

class ListenSocketTest : public testing::Test {
 protected:
  ListenSocketTest() {
    char name[] = "/tmp/ebb-listen-test-XXXXXX";
    dir_ = mkdtemp(name);
    path_ = dir_ + "/control.sock";
  }
  ~ListenSocketTest() override {
    unlink(path_.c_str());
    EXPECT_EQ(rmdir(dir_.c_str()), 0);
  }

  sockaddr_un Address() const {
    sockaddr_un address = {};
    address.sun_family = AF_UNIX;
    std::memcpy(address.sun_path, path_.data(), path_.size());
    return address;
  }
  UniqueFd Bound() const {
    UniqueFd fd(socket(AF_UNIX, SOCK_STREAM, 0));
    const sockaddr_un address = Address();
    EXPECT_EQ(bind(fd.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address), 0);
    return fd;
  }
  bool Exists() const { return access(path_.c_str(), F_OK) == 0; }
  mode_t Mode() const {
    struct stat found = {};
    EXPECT_EQ(stat(path_.c_str(), &found), 0);
    EXPECT_TRUE(S_ISSOCK(found.st_mode));
    return found.st_mode & 0777;
  }

  std::string dir_;
  std::string path_;
};

TEST_F(ListenSocketTest, ModeIsExactWhateverTheUmask) {
  for (const mode_t mode : {0600, 0660, 0666}) {
    for (const mode_t mask : {0000, 0077, 0777}) {
      const mode_t umask_before = umask(mask);
      const auto socket = ListenSocket::Create(path_, SocketType::kStream, mode);
      umask(umask_before);
      ASSERT_TRUE(socket.ok()) << socket.status();
      EXPECT_EQ(Mode(), mode) << "umask " << mask;
    }
    EXPECT_FALSE(Exists());
  }
}

TEST_F(ListenSocketTest, NameLivesAsLongAsTheObjectAndMovesWithIt) {
  auto created = ListenSocket::Create(path_, SocketType::kStream, 0600);
  ASSERT_TRUE(created.ok());
  ListenSocket first = *std::move(created);
  ListenSocket second;
  second = std::move(first);
  const UniqueFd fd = second.TakeFd();
  EXPECT_TRUE(fd.valid());
  EXPECT_TRUE(Exists());
  second = ListenSocket();
  EXPECT_FALSE(Exists());
}

TEST_F(ListenSocketTest, LeavesANameThatBecameSomebodyElses) {
  auto socket = ListenSocket::Create(path_, SocketType::kStream, 0600);
  ASSERT_TRUE(socket.ok());
  const std::string kept = path_ + ".kept";  // so that its inode is not used again
  ASSERT_EQ(rename(path_.c_str(), kept.c_str()), 0);
  const UniqueFd other = Bound();
  socket->RemoveName();
  EXPECT_TRUE(Exists());
  unlink(kept.c_str());
}

TEST_F(ListenSocketTest, ReplacesADeadSocket) {
  Bound().Reset();
  EXPECT_TRUE(Exists());
  EXPECT_TRUE(ListenSocket::Create(path_, SocketType::kStream, 0600).ok());
}

TEST_F(ListenSocketTest, RefusesASocketInUse) {
  const UniqueFd living = Bound();
  ASSERT_EQ(listen(living.get(), 0), 0);
  EXPECT_EQ(ListenSocket::Create(path_, SocketType::kStream, 0600).status().code(),
            absl::StatusCode::kAlreadyExists);
  // That look has filled the backlog, so the next one is not answered: still in use.
  EXPECT_EQ(ListenSocket::Create(path_, SocketType::kStream, 0600).status().code(),
            absl::StatusCode::kAlreadyExists);
  EXPECT_EQ(ListenSocket::Create(path_, SocketType::kStream, 0600).status().code(),
            absl::StatusCode::kAlreadyExists);
  EXPECT_TRUE(Exists());
}

TEST_F(ListenSocketTest, LeavesAlienFilesAlone) {
  UniqueFd(open(path_.c_str(), O_CREAT | O_WRONLY | O_CLOEXEC, 0600)).Reset();
  EXPECT_EQ(ListenSocket::Create(path_, SocketType::kStream, 0600).status().code(),
            absl::StatusCode::kAlreadyExists);
  EXPECT_TRUE(Exists());
}

TEST_F(ListenSocketTest, SaysWhichPathItCannotUseAndWhy) {
  const std::string missing = dir_ + "/missing/control.sock";
  const std::string text =
      ListenSocket::Create(missing, SocketType::kStream, 0600).status().ToString();
  EXPECT_NE(text.find(missing), std::string::npos) << text;
  EXPECT_NE(text.find("No such file"), std::string::npos) << text;
  for (const std::string& path : {std::string(), dir_ + std::string(200, 'x')}) {
    EXPECT_EQ(ListenSocket::Create(path, SocketType::kStream, 0600).status().code(),
              absl::StatusCode::kInvalidArgument);
  }
}

}  // namespace
}  // namespace ebb
