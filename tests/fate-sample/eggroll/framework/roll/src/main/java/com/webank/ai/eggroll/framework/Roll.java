package com.webank.ai.eggroll.framework;

import com.webank.ai.eggroll.core.server.LineServer;
import com.webank.ai.eggroll.framework.storage.Stores;
import java.io.IOException;
import java.util.Arrays;

/** {@code -c conf/roll.properties}; needs eggroll-core and eggroll-storage-service-java in lib/. */
public final class Roll {
    private Roll() {}

    public static void main(String[] args) throws IOException {
        LineServer server = new LineServer("roll", args);
        server.log("stores " + Arrays.toString(Stores.values()));
        String meta = server.get("meta.service.ip", "");
        String port = server.get("meta.service.port", "");
        server.log("meta-service at " + meta + ":" + port);
        server.serve("service.port", question -> {
            if (question.equals("meta-service")) {
                return LineServer.ask(meta, port, "");
            }
            // Upstream's roll finds the eggs in the same way: the table of nodes says where they are.
            String node = LineServer.ask(meta, port, "node " + question.toUpperCase());
            if (node.startsWith("error")) {
                return node;
            }
            return LineServer.ask(node.split(":")[0], node.split(":")[1], "");
        });
    }
}
