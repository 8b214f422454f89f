package com.webank.eggroll.core;

import com.webank.eggroll.core.server.LineServer;
import org.apache.commons.cli.CommandLine;
import org.apache.commons.cli.Options;

/** {@code --bootstraps CLASS -c conf/eggroll.properties -p PORT -s SESSION}: becomes the process that the class is. */
public final class Bootstrap {
    private Bootstrap() {}

    public static void main(String[] args) {
        Options options = new Options()
                .addRequiredOption("b", "bootstraps", true, "")
                .addRequiredOption("c", "config", true, "")
                .addRequiredOption("p", "port", true, "")
                .addRequiredOption("s", "session-id", true, "");
        CommandLine line = LineServer.parse("bootstrap", options, args);
        String name = line.getOptionValue("b");
        try {
            Class<?> type = Class.forName(name);
            BootstrapBase process = (BootstrapBase) type.getDeclaredConstructor().newInstance();
            process.start(line.getOptionValue("c"), line.getOptionValue("p"));
        } catch (ReflectiveOperationException | ClassCastException wrong) {
            LineServer.fail("bootstrap", 2, "--bootstraps names no process of eggroll's: " + wrong);
        }
    }
}
