#include "checkpoint/file.h"

#include <fcntl.h>
#ifdef _WIN32
#include <io.h>
#include <sys/stat.h>
#else
#include <unistd.h>
#endif

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <random>
#include <system_error>
#include <utility>

#include "checkpoint/format.h"
#include "core/error.h"

namespace soundspot::checkpoint {
namespace {

constexpr uint64_t kChunk = uint64_t{1} << 30;  // bytes per call; some systems take no more than 2^31 - 1

std::filesystem::path from_utf8(const std::string& path) {
  return std::filesystem::path(std::u8string(path.begin(), path.end()));
}

std::string reason(int error) { return std::generic_category().message(error); }

// The few calls that the C++ library lacks. Each returns -1 and sets errno on failure.
#ifdef _WIN32
int create_new(const std::filesystem::path& path) {
  return _wopen(path.c_str(), _O_WRONLY | _O_CREAT | _O_EXCL | _O_BINARY, _S_IREAD | _S_IWRITE);
}
int64_t seek_end(int descriptor) { return _lseeki64(descriptor, 0, SEEK_END); }
int open_appending(const std::filesystem::path& path) {
  return _wopen(path.c_str(), _O_WRONLY | _O_CREAT | _O_APPEND | _O_BINARY, _S_IREAD | _S_IWRITE);
}
int64_t write_some(int descriptor, const char* data, uint64_t bytes) {
  return _write(descriptor, data, static_cast<unsigned>(bytes));
}
int flush(int descriptor) { return _commit(descriptor); }
int close_descriptor(int descriptor) { return _close(descriptor); }
int flush_folder(const std::filesystem::path&) { return 0; }  // Windows has no such call
#else
int create_new(const std::filesystem::path& path) {
  return ::open(path.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
}
int64_t seek_end(int descriptor) { return ::lseek(descriptor, 0, SEEK_END); }
int open_appending(const std::filesystem::path& path) {
  return ::open(path.c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0666);
}
int64_t write_some(int descriptor, const char* data, uint64_t bytes) { return ::write(descriptor, data, bytes); }
int flush(int descriptor) { return ::fsync(descriptor); }
int close_descriptor(int descriptor) { return ::close(descriptor); }
int flush_folder(const std::filesystem::path& folder) {
  const int descriptor = ::open(folder.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (descriptor < 0) return 0;  // one may write in a folder that one may not read
  const int result = ::fsync(descriptor);
  const int error = errno;
  ::close(descriptor);
  errno = error;
  return result < 0 && error == EINVAL ? 0 : result;  // file systems that keep no such promise
}
#endif

[[noreturn]] void fail_writing(const std::string& name, int error) {
  throw Error("ERR_FILE_WRITE", name + " cannot be written: " + reason(error) +
                                    ". Check that its folder exists, may be written and has free space.");
}

/// @return 0, or the system's error.
int write_all(int descriptor, const void* data, uint64_t bytes) {
  const char* next = static_cast<const char*>(data);
  while (bytes > 0) {
    const int64_t written = write_some(descriptor, next, std::min(bytes, kChunk));
    if (written < 0 && errno == EINTR) continue;
    if (written <= 0) return written < 0 ? errno : EIO;
    next += written;
    bytes -= static_cast<uint64_t>(written);
  }
  return 0;
}

}  // namespace

InputFile::InputFile(const std::string& path) {
  const std::filesystem::path target = from_utf8(path);
  std::error_code error;
  const std::filesystem::file_status status = std::filesystem::status(target, error);
  if (status.type() == std::filesystem::file_type::not_found) {
    throw Error("ERR_FILE_NOT_FOUND", path + " does not exist. Give the path of a checkpoint file.");
  }
  if (!std::filesystem::status_known(status)) {
    throw Error("ERR_INPUT", path + " cannot be read: " + error.message() + ".");
  }
  if (std::filesystem::is_directory(status)) {
    throw Error("ERR_INPUT", path + " is a folder. Give the path of a checkpoint file.");
  }
  if (!std::filesystem::is_regular_file(status)) {  // opening a pipe would wait for its writer
    throw Error("ERR_INPUT", path + " is not a regular file. Give the path of a checkpoint file.");
  }
  errno = 0;
#ifdef _WIN32
  stream_.open(target, std::ios::binary);
  const bool opened = static_cast<bool>(stream_);
#else
  descriptor_ = ::open(target.c_str(), O_RDONLY | O_CLOEXEC);
  const bool opened = descriptor_ >= 0;
#endif
  const int failure = errno;
  if (opened) size_ = std::filesystem::file_size(target, error);
  if (opened && !error && size_ > 0) return;
  close();
  if (!opened || error) {
    throw Error("ERR_INPUT", path + " cannot be read: " + (error ? error.message() : reason(failure)) + ".");
  }
  throw Error("ERR_FILE_EMPTY", path + " is empty. Download or save it again.");
}

InputFile::~InputFile() { close(); }

void InputFile::close() {
#ifdef _WIN32
  stream_.close();
#else
  if (descriptor_ >= 0) close_descriptor(std::exchange(descriptor_, -1));
#endif
}

void InputFile::read(uint64_t offset, void* to, uint64_t bytes) {
  if (offset > size_ || bytes > size_ - offset) throw FormatError("the file ends too early");
  const FormatError shortened("the file could not be read to its end");
#ifdef _WIN32
  const std::lock_guard lock(mutex_);
  stream_.clear();
  stream_.seekg(static_cast<std::streamoff>(offset));
  if (!stream_.read(static_cast<char*>(to), static_cast<std::streamsize>(bytes))) throw shortened;
#else
  char* next = static_cast<char*>(to);
  while (bytes > 0) {
    const ssize_t got = ::pread(descriptor_, next, std::min(bytes, kChunk), static_cast<off_t>(offset));
    if (got < 0 && errno == EINTR) continue;
    if (got <= 0) throw shortened;
    next += got;
    offset += static_cast<uint64_t>(got);
    bytes -= static_cast<uint64_t>(got);
  }
#endif
}

void InputFile::expect([[maybe_unused]] uint64_t offset, [[maybe_unused]] uint64_t bytes) const {
#ifdef POSIX_FADV_WILLNEED
  // An advice: where the system does not take it, the bytes are fetched when they are read.
  static_cast<void>(
      ::posix_fadvise(descriptor_, static_cast<off_t>(offset), static_cast<off_t>(bytes), POSIX_FADV_WILLNEED));
#endif
}

AppendedFile::AppendedFile(const std::string& path) : name_(path) {
  const std::filesystem::path target = from_utf8(path);
  descriptor_ = open_appending(target);
  if (descriptor_ < 0) fail_writing(name_, errno);
}

AppendedFile::~AppendedFile() {
  if (descriptor_ >= 0) close_descriptor(descriptor_);
}

uint64_t AppendedFile::size() const {
  const int64_t end = seek_end(descriptor_);
  if (end < 0) fail_writing(name_, errno);
  return static_cast<uint64_t>(end);
}

void AppendedFile::append(const void* data, uint64_t bytes) {
  const int error = write_all(descriptor_, data, bytes);
  if (error != 0) fail_writing(name_, error);
}

OutputFile::OutputFile(const std::string& path) : name_(path), target_(from_utf8(path)) {
  std::error_code unknown;
  const std::filesystem::file_status there = std::filesystem::status(target_, unknown);
  if (std::filesystem::exists(there) && !std::filesystem::is_regular_file(there)) {
    throw Error("ERR_FILE_WRITE", name_ + " cannot be written: it is " +
                                      (std::filesystem::is_directory(there) ? "a folder" : "not a regular file") +
                                      ". Give the path of a file.");
  }
  std::random_device random;
  do {
    temporary_ = target_;
    temporary_ += "." + std::to_string(random()) + ".tmp";
    descriptor_ = create_new(temporary_);
  } while (descriptor_ < 0 && errno == EEXIST);
  if (descriptor_ < 0) fail(errno);
}

OutputFile::~OutputFile() {
  if (descriptor_ >= 0) close_descriptor(descriptor_);
  std::error_code ignored;
  if (!committed_) std::filesystem::remove(temporary_, ignored);
}

void OutputFile::write(const void* data, uint64_t bytes) {
  const int error = write_all(descriptor_, data, bytes);
  if (error != 0) fail(error);
}

void OutputFile::commit() {
  if (flush(descriptor_) < 0) fail(errno);
  const int descriptor = std::exchange(descriptor_, -1);
  if (close_descriptor(descriptor) < 0) fail(errno);
  std::error_code error;
  std::filesystem::rename(temporary_, target_, error);
  if (error) fail(error.default_error_condition().value());
  committed_ = true;
  const std::filesystem::path folder = target_.parent_path();
  if (flush_folder(folder.empty() ? "." : folder) < 0) fail(errno);
}

void OutputFile::fail(int error) const { fail_writing(name_, error); }

}  // namespace soundspot::checkpoint
