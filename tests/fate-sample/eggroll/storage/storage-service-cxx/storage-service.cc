// storage-service -p PORT -d DATA_DIR: keeps tables in LMDB and RocksDB and serves them by gRPC until SIGTERM.

#include <chrono>
#include <csignal>
#include <cstdlib>
#include <glog/logging.h>
#include <grpcpp/grpcpp.h>
#include <iostream>
#include <unistd.h>

#include "src/StorageServicer.h"

namespace {

const int kMessageBytes = 32 << 20;  // as upstream's

int serve(int port, const std::string& dataDir) {
    // Before gRPC starts its threads, so that all of them leave these signals to sigwait. It also makes SIGTERM work for
    // the first process of a container, which has no default action for it.
    sigset_t ends;
    sigemptyset(&ends);
    sigaddset(&ends, SIGTERM);
    sigaddset(&ends, SIGINT);
    pthread_sigmask(SIG_BLOCK, &ends, nullptr);

    StorageServicer servicer(dataDir);
    std::string address = "0.0.0.0:" + std::to_string(port);
    int bound = 0;
    grpc::ServerBuilder builder;
    builder.AddChannelArgument(GRPC_ARG_ALLOW_REUSEPORT, 0);  // a port in use is an error, not a second server
    builder.AddListeningPort(address, grpc::InsecureServerCredentials(), &bound);
    builder.RegisterService(&servicer);
    builder.SetMaxReceiveMessageSize(kMessageBytes);
    std::unique_ptr<grpc::Server> server = builder.BuildAndStart();
    if (!server || bound == 0) {
        std::cerr << "storage-service: error: cannot listen on " << address << std::endl;
        return 1;
    }
    std::cout << "storage-service 1.1 listening on " << address << ", data in " << dataDir << std::endl;

    int signal = 0;
    sigwait(&ends, &signal);
    std::cout << "storage-service stopping" << std::endl;
    server->Shutdown(std::chrono::system_clock::now() + std::chrono::milliseconds(500));
    return 0;
}

}  // namespace

int main(int argc, char** argv) {
    int port = 0;
    std::string dataDir;
    for (int option; (option = getopt(argc, argv, "p:d:")) != -1;) {
        if (option == 'p') {
            port = std::atoi(optarg);
        } else if (option == 'd') {
            dataDir = optarg;
        } else {
            port = 0;
            break;
        }
    }
    if (port <= 0 || port > 65535 || dataDir.empty()) {
        std::cerr << "usage: storage-service -p PORT -d DATA_DIR" << std::endl;
        return 2;
    }
    google::InitGoogleLogging(argv[0]);
    return serve(port, dataDir);
}
