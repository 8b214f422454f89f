package org.fedai.osx.broker;

import com.webank.eggroll.core.meta.Meta;
import java.net.ServerSocket;
import org.apache.commons.cli.DefaultParser;
import org.apache.commons.cli.Options;
import org.fedai.osx.core.MetaInfo;

/** {@code -c DIRECTORY}: accepts connections on grpc.port. Ends with 1 where the messages are not those of eggroll 3. */
public final class Bootstrap {
    private Bootstrap() {}

    public static void main(String[] args) throws Exception {
        Options options = new Options().addRequiredOption("c", "configFile", true, "");
        String directory = new DefaultParser().parse(options, args).getOptionValue("c");
        int port = Integer.parseInt(MetaInfo.read(directory).getProperty("grpc.port").trim());
        if (!Meta.VERSION.equals("3")) {
            System.err.println("osx: error: the messages are those of eggroll " + Meta.VERSION);
            System.exit(1);
        }
        try (ServerSocket socket = new ServerSocket(port)) {
            System.out.println("osx listens on port " + port);
            while (true) {
                socket.accept().close();
            }
        }
    }
}
