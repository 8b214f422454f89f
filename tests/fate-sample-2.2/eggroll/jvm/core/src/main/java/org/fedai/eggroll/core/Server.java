package org.fedai.eggroll.core;

import java.io.File;
import java.io.IOException;
import java.net.ServerSocket;
import org.apache.commons.cli.DefaultParser;
import org.apache.commons.cli.Options;
import org.apache.commons.cli.ParseException;

/** {@code -p PORT -s SESSION}: accepts connections on the port. Ends with 1 if its configuration is not there. */
public final class Server {
    private Server() {}

    public static void run(String name, String[] args) throws IOException, ParseException {
        Options options = new Options().addRequiredOption("p", "port", true, "").addRequiredOption("s", "session", true, "");
        int port = Integer.parseInt(new DefaultParser().parse(options, args).getOptionValue("p"));
        for (String file : new String[] {"conf/eggroll.properties", System.getProperty("log4j.configurationFile")}) {
            if (!new File(file).isFile()) {
                System.err.println(name + ": error: there is no " + new File(file).getAbsolutePath());
                System.exit(1);
            }
        }
        try (ServerSocket socket = new ServerSocket(port)) {
            System.out.println(name + " listens on port " + port);
            while (true) {
                socket.accept().close();
            }
        }
    }
}
